// The shown check: its message, pictures of the part it is about, the measured curve, and the reviewer's verdict.

import { by, el, fill } from "/page/dom.js";
import { colourOf, FAINT, SEVERITIES } from "/page/palette.js";
import { clamp, frameAt, FRAME_US, seconds } from "/page/time.js";

const FACE = ["head", "gaze", "brows", "mouth", "face"];
const LIMBS = [["shoulder_left", "elbow_left", "wrist_left"], ["shoulder_right", "elbow_right", "wrist_right"]];
const TILE_PX = 208; // drawn at half of it
const AROUND_US = 400_000; // shown before and after
const NAMES = ["before", "start", "", "", "end", "after"];

/**
 * Draw the finding, or nothing without one.
 * @param {Object} clip
 * @param {Object|null} finding
 * @param {Stills} stills
 * @param {{seek: Function, dispute: Function, reject: Function}} calls
 */
export function drawShownCheck(clip, finding, stills, calls) {
  by("shown").hidden = finding === null;
  if (finding === null) return;
  const isDisputed = clip.draft.disputed.includes(finding.place);
  const look = SEVERITIES[finding.severity];
  fill(
    by("shown"),
    el("h2", {}, "Check ", el("b", { className: finding.severity, textContent: `${look.sign} ${finding.check}` })),
    el("p", { textContent: finding.message }),
    finding.start_us === null || clip.media === null ? null : strip(clip, finding, stills, calls),
    finding.start_us === null ? null : curve(clip, finding),
    el("div", { className: "actions two" },
      isDisputed
        ? el("p", { className: "settled", textContent: "✓ annotation right, measurement wrong" })
        : el("button", { id: "dispute", className: "yes", on: { click: calls.dispute } }, "Annotation right, measurement wrong", el("kbd", { textContent: "D" })),
      finding.phase_id === null || isDisputed ? null : el("button", { className: "no", on: { click: calls.reject } }, "Annotation wrong: reject", el("kbd", { textContent: "X" }))),
  );
}

/** Six frames from before the finding to after it, cropped to the part. */
function strip(clip, finding, stills, calls) {
  const { start_us, end_us } = spanOf(clip, finding);
  const length = end_us - start_us;
  const times = [start_us - AROUND_US / 2, start_us, start_us + length / 3, start_us + (2 * length) / 3, end_us - FRAME_US, end_us + AROUND_US / 2];
  const crop = cropOf(clip, finding, start_us, end_us);
  const tiles = times.map((us, i) => {
    const frame = clamp(frameAt(us), 0, Math.round(clip.duration_us / FRAME_US) - 1);
    const canvas = el("canvas", { width: TILE_PX, height: TILE_PX });
    const marks = (pen, place) => mark(pen, place, clip, finding.track, frame);
    setTimeout(() => stills.paint(canvas, clip.media, frame, { crop, marks, isUrgent: true })); // once it is on the page
    return el("button", { className: "still", on: { click: () => calls.seek(frame) }, aria: { label: `show ${seconds(frame * FRAME_US)} s` } },
      canvas, el("small", { textContent: `${seconds(frame * FRAME_US)} ${NAMES[i]}` }));
  });
  return el("div", { className: "stills" }, ...tiles);
}

function spanOf(clip, finding) {
  return { start_us: finding.start_us, end_us: Math.max(finding.end_us ?? 0, finding.start_us + 4 * FRAME_US, finding.start_us) };
}

/** A square around the part over the whole time of the finding, in picture heights. */
function cropOf(clip, finding, start_us, end_us) {
  const { points, head_height } = clip.curves ?? { points: {}, head_height: [] };
  const wide = clip.size === null ? 1 : clip.size[0] / clip.size[1];
  const frames = [frameAt(Math.max(0, start_us - AROUND_US)), frameAt(end_us + AROUND_US)];
  const names = FACE.includes(finding.track) ? ["head"] : Object.keys(points);
  const xs = names.flatMap((name) => points[name]?.[0].slice(...frames) ?? []).filter((v) => v !== null);
  const ys = names.flatMap((name) => points[name]?.[1].slice(...frames) ?? []).filter((v) => v !== null);
  const faces = head_height.slice(...frames).filter((v) => v !== null);
  const most = Math.min(1, wide);
  if (!xs.length || !faces.length) return { x: (wide - most) / 2, y: (1 - most) / 2, size: most };
  const face = Math.max(...faces);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const size = Math.min(most, Math.max(right - left, bottom - top) + 1.6 * face);
  return { x: clamp((left + right - size) / 2, 0, wide - size), y: clamp((top + bottom - size) / 2, 0, 1 - size), size };
}

/** The tracked points of one frame: a box around the face, lines along the arms; the part of the check is bright. */
function mark(pen, place, clip, track, frame) {
  const { points, head_height } = clip.curves ?? { points: {}, head_height: [] };
  const at = (name) => (points[name] && points[name][0][frame] !== null ? place(points[name][0][frame], points[name][1][frame]) : null);
  const height = head_height[frame];
  pen.lineWidth = 3;
  if (points.head && height) {
    const [x, y] = [points.head[0][frame], points.head[1][frame]];
    const [x0, y0] = place(x - 0.38 * height, y - 0.5 * height);
    const [x1, y1] = place(x + 0.38 * height, y + 0.5 * height);
    pen.strokeStyle = FACE.includes(track) ? colourOf(track) : FAINT;
    pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
  for (const limb of LIMBS) {
    const isNamed = track === limb[2].replace("wrist", "arm") || ["arms", "hands"].includes(track);
    pen.strokeStyle = pen.fillStyle = isNamed ? colourOf(track) : FAINT;
    const joints = limb.map(at).filter((one) => one !== null);
    pen.beginPath();
    joints.forEach(([x, y]) => pen.lineTo(x, y));
    pen.stroke();
    const wrist = at(limb[2]);
    if (wrist === null) continue;
    pen.beginPath();
    pen.arc(...wrist, 7, 0, 2 * Math.PI);
    pen.fill();
  }
}

/** The speed of the part around the finding, or the opening of the mouth; null if it was not measured. */
function curve(clip, finding) {
  const isMouth = finding.track === "mouth";
  const values = isMouth ? clip.curves?.mouth_open : clip.curves?.tracks[finding.track]?.speed;
  if (!values?.length) return null;
  const { start_us, end_us } = spanOf(clip, finding);
  const [from, to] = [Math.max(0, start_us - 2 * AROUND_US), Math.min(clip.duration_us, end_us + 2 * AROUND_US)];
  const [width, height] = [656, 112];
  const canvas = el("canvas", { className: "curve", width, height, aria: { hidden: true } });
  const pen = canvas.getContext("2d");
  const x = (us) => ((us - from) / (to - from)) * width;
  const top = Math.max(isMouth ? 1e-6 : 2, ...values.map((v) => v ?? 0));
  const y = (value) => height - 4 - (value / top) * (height - 12);
  const colour = colourOf(finding.track);
  pen.fillStyle = `${colour}2e`;
  pen.fillRect(x(start_us), 0, x(end_us) - x(start_us), height);
  if (!isMouth) {
    pen.strokeStyle = FAINT;
    pen.setLineDash([2, 6]);
    pen.beginPath();
    pen.moveTo(0, y(1));
    pen.lineTo(width, y(1));
    pen.stroke();
    pen.setLineDash([]);
  }
  pen.strokeStyle = colour;
  pen.lineWidth = 3;
  pen.beginPath();
  let isDown = false; // a gap where the part was not visible lifts the pen
  for (let k = frameAt(from); k < Math.min(values.length, to / FRAME_US); k += 1) {
    if (values[k] !== null) pen[isDown ? "lineTo" : "moveTo"](x((k + 0.5) * FRAME_US), y(values[k]));
    isDown = values[k] !== null;
  }
  pen.stroke();
  const part = finding.track.replaceAll("_", " ");
  const title = isMouth ? "opening of the mouth; the shaded time is the finding's" : `speed of the ${part}; dotted: a small movement; shaded: the finding's time`;
  return el("figure", {}, canvas, el("figcaption", { textContent: title }));
}
