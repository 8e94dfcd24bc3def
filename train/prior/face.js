// A schematic face in the units of the series: 1 is how far a series usually moves from its rest.

const data = JSON.parse(document.getElementById("data").textContent);
const audio = document.getElementById("audio");
const canvas = document.getElementById("face");
const pen = canvas.getContext("2d");
const seconds = data.frames / data.fps;
const DEGREES = { yaw_deg: 5, pitch_deg: 3, roll_deg: 3.5 }; // spreads of the angles

/** Value of a series at a time, in spreads. */
function at(name, time) {
  const series = data.series[name];
  const place = Math.min(Math.max(time * data.fps, 0), series.length - 1);
  const k = Math.floor(place);
  const next = Math.min(k + 1, series.length - 1);
  return series[k] + (series[next] - series[k]) * (place - k);
}

const radians = (name, time) => (at(name, time) * DEGREES[name] * Math.PI) / 180;
const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

/** A point of the head (right, down, towards us, in half face heights) on the canvas. */
function projector(time) {
  // Positive yaw and roll go to the subject's left, which is on the right of the picture.
  const [yaw, pitch, roll] = ["yaw_deg", "pitch_deg", "roll_deg"].map((name) => radians(name, time));
  const size = canvas.height * 0.3 * (1 + 0.02 * clamp(at("head_height", time), -5, 5));
  const x0 = canvas.width / 2 + canvas.height * 0.015 * clamp(at("head_x", time), -8, 8);
  const y0 = canvas.height * 0.46 + canvas.height * 0.018 * clamp(at("head_y", time), -8, 8);
  return (x, y, z) => {
    const x1 = x * Math.cos(yaw) + z * Math.sin(yaw);
    const z1 = z * Math.cos(yaw) - x * Math.sin(yaw);
    const y1 = y * Math.cos(pitch) - z1 * Math.sin(pitch);
    return [x0 + size * (x1 * Math.cos(roll) - y1 * Math.sin(roll)), y0 + size * (x1 * Math.sin(roll) + y1 * Math.cos(roll))];
  };
}

const depth = (x, y) => Math.sqrt(Math.max(0, 1 - (x / 0.8) ** 2 - (y / 1.05) ** 2)) * 0.75;

function stroke(points, { closed = false, fill = null } = {}) {
  pen.beginPath();
  points.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  if (closed) pen.closePath();
  if (fill) {
    pen.fillStyle = fill;
    pen.fill();
  }
  pen.stroke();
}

const curve = (count, point) => Array.from({ length: count + 1 }, (_, k) => point(k / count));

function drawEye(place, side, time, ink) {
  const open = clamp(1 + at(side < 0 ? "eye_right_open" : "eye_left_open", time) / 5.6, 0, 1.4);
  const [x0, y0] = [0.34 * side, -0.18];
  const lid = (sign) => (t) => {
    const [x, y] = [x0 + 0.15 * (2 * t - 1), y0 + sign * 0.09 * open * Math.sin(Math.PI * t)];
    return place(x, y, depth(x, y));
  };
  stroke([...curve(16, lid(-1)), ...curve(16, lid(1)).reverse()], { closed: true });
  if (open > 0.15) {
    const [x, y] = [x0 + 0.07 * clamp(at("gaze_x", time) / 3, -1, 1), y0 - 0.04 * clamp(at("gaze_y", time) / 3, -1, 1)];
    const [px, py] = place(x, y, depth(x, y));
    pen.beginPath();
    pen.ellipse(px, py, 13, 13 * Math.min(1, open), 0, 0, 2 * Math.PI);
    pen.fillStyle = ink;
    pen.fill();
  }
  const raised = 0.03 * clamp(at("brow_raise", time), -3, 8);
  stroke(curve(12, (t) => {
    const [x, y] = [x0 + 0.2 * (2 * t - 1), y0 - 0.2 - raised - 0.04 * Math.sin(Math.PI * t)];
    return place(x, y, depth(x, y));
  }));
}

function drawMouth(place, time) {
  const open = clamp(at("mouth_open", time), 0, 6);
  const wide = 0.26 * (1 + 0.06 * clamp(at("mouth_wide", time), -4, 5));
  const smile = 0.03 * clamp(at("smile", time), -2, 5);
  const lip = (sign) => (t) => {
    const [x, bow] = [wide * (2 * t - 1), Math.sin(Math.PI * t)];
    const y = 0.48 + (sign > 0 ? 0.05 * open : -0.012 * open) * bow - smile * (1 - bow) + 0.02 * bow;
    return place(x, y, depth(x, y) + 0.05);
  };
  stroke([...curve(20, lip(-1)), ...curve(20, lip(1)).reverse()], { closed: true, fill: "#7a3038" });
}

function drawHand(name, side, time, ink) {
  if (at(`hand_${name}_visible`, time) < 1) return;
  const x = canvas.width * (0.5 + 0.28 * side) + canvas.height * 0.1 * clamp(at(`wrist_${name}_x`, time), -4, 4);
  const y = canvas.height * 0.88 + canvas.height * 0.15 * clamp(at(`wrist_${name}_y`, time), -4, 2);
  pen.beginPath();
  pen.ellipse(x, y, 26, 34, 0, 0, 2 * Math.PI);
  pen.strokeStyle = ink;
  pen.stroke();
}

function draw(time) {
  const ink = getComputedStyle(document.body).color;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.lineWidth = 5;
  pen.lineJoin = pen.lineCap = "round";
  pen.strokeStyle = ink;
  const place = projector(time);
  const jaw = 0.03 * clamp(at("mouth_open", time), 0, 6);
  stroke(curve(64, (t) => {
    const angle = 2 * Math.PI * t;
    const y = 1.05 * Math.sin(angle) + (Math.sin(angle) > 0 ? jaw * Math.sin(angle) : 0);
    return place(0.8 * Math.cos(angle) * (Math.sin(angle) > 0 ? 1 - 0.12 * Math.sin(angle) ** 2 : 1), y, 0);
  }), { closed: true });
  for (const side of [-1, 1]) drawEye(place, side, time, ink);
  stroke([place(0, -0.1, 0.75), place(0.02, 0.2, 0.95), place(-0.07, 0.24, 0.78)]);
  drawMouth(place, time);
  const lift = canvas.height * 0.014 * clamp(at("shoulder_left_y", time) + at("shoulder_right_y", time), -6, 6) / 2;
  pen.strokeStyle = ink;
  stroke(curve(24, (t) => [canvas.width * (0.08 + 0.84 * t), canvas.height * (1.02 - 0.12 * Math.sin(Math.PI * t) ** 0.5) + lift]));
  drawHand("left", 1, time, ink);
  drawHand("right", -1, time, ink);
}

function percent(time) {
  return `${(100 * time) / seconds}%`;
}

const bars = data.phases.map((phase) => {
  const row = document.createElement("li");
  const bar = document.createElement("span");
  const label = document.createElement("b");
  bar.style.left = percent(phase.start_s);
  bar.style.width = percent(phase.end_s - phase.start_s);
  label.textContent = `${phase.start_s.toFixed(2)}–${phase.end_s.toFixed(2)} s  ${phase.text}`;
  row.append(bar, label);
  document.getElementById("phases").append(row);
  return { ...phase, bar };
});

const CURVES = { yaw_deg: "head turn", pitch_deg: "nod", roll_deg: "tilt", brow_raise: "brows", mouth_open: "mouth" };
for (const [name, label] of Object.entries(CURVES)) {
  const title = document.createElement("p");
  title.textContent = label;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("preserveAspectRatio", "none");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const series = data.series[name];
  const reach = Math.max(4, ...series.map(Math.abs)); // small motion looks small
  svg.setAttribute("viewBox", `0 ${-reach} 100 ${2 * reach}`);
  path.setAttribute("d", series.map((value, k) => `${k ? "L" : "M"}${((100 * k) / (series.length - 1 || 1)).toFixed(2)} ${(-value).toFixed(2)}`).join(""));
  svg.append(path);
  document.getElementById("curves").append(title, svg);
}

const time = document.getElementById("time");
time.addEventListener("click", (event) => {
  const box = time.getBoundingClientRect();
  audio.currentTime = (seconds * (event.clientX - box.left)) / box.width;
});

function show() {
  const now = Math.min(audio.currentTime, seconds);
  document.getElementById("cursor").style.left = percent(now);
  for (const phase of bars) phase.bar.classList.toggle("now", phase.start_s <= now && now < phase.end_s);
  draw(now);
  requestAnimationFrame(show);
}
show();
