// Drawing functions of the time axis; they keep no state.

import { BAR, GUTTER } from "/page/layout.js";
import { BAND, colourOf, FAINT, INK, LINE, patternOf, SEVERITIES, SOFT } from "/page/palette.js";
import { FRAME_US } from "/page/time.js";

const FONT = "11px system-ui, sans-serif";
const CURVE_FULL = 4; // speeds: the full height is at least four times a small deliberate movement
const SIGMAS = 1.73; // a uniform distribution of half width SIGMAS * sigma has the standard deviation sigma

/** Draw everything except the playhead. */
export function drawAxis(pen, layout, { clip, phases, selected, sound, guide }) {
  pen.clearRect(0, 0, layout.width, layout.height);
  pen.font = FONT;
  pen.textBaseline = "middle";
  drawLabels(pen, layout);
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, 0, layout.width - GUTTER, layout.height);
  pen.clip();
  for (const row of layout.rows) ROWS[row.kind](pen, layout, row, { clip, phases, selected, sound });
  for (const us of clip.cuts_us) vertical(pen, layout, us, "#ffffff", [2, 3]);
  if (guide) drawGuide(pen, layout, guide);
  pen.restore();
}

function drawLabels(pen, layout) {
  pen.textAlign = "right";
  for (const row of layout.rows) {
    pen.fillStyle = SOFT;
    pen.fillText(row.label, GUTTER - 10, row.y + (row.bar ? BAR / 2 + 1 : row.height / 2));
    pen.fillStyle = FAINT;
    for (const [i, layer] of (row.each > 9 ? row.others : []).entries()) {
      const name = layer.name.split(" · ").at(-1).slice(0, 16);
      pen.fillText(name, GUTTER - 10, row.y + row.bar + (i + 0.5) * row.each, GUTTER - 14);
    }
  }
  pen.textAlign = "left";
}

const ROWS = {
  ruler: drawRuler,
  findings: drawFindings,
  sound: drawSound,
  words: drawWords,
  mouth: drawMouth,
  track: drawTrack,
};

function vertical(pen, layout, us, colour, dash = []) {
  const x = Math.round(layout.x(us)) + 0.5;
  pen.save();
  pen.strokeStyle = colour;
  pen.globalAlpha = 0.75;
  pen.setLineDash(dash);
  pen.beginPath();
  pen.moveTo(x, 0);
  pen.lineTo(x, layout.height);
  pen.stroke();
  pen.restore();
}

function drawGuide(pen, layout, { us, why }) {
  vertical(pen, layout, us, "#8ab4f8");
  pen.fillStyle = "#8ab4f8";
  pen.fillText(why, layout.x(us) + 4, 31);
}

function drawRuler(pen, layout, row, { clip }) {
  const { from, to } = layout.view;
  const step = [0.1, 0.2, 0.5, 1].find((s) => (s * 1e6) / layout.us_per_px > 46) ?? 2;
  pen.strokeStyle = LINE;
  pen.fillStyle = FAINT;
  pen.beginPath();
  if (FRAME_US / layout.us_per_px >= 5) {
    for (let us = Math.ceil(from / FRAME_US) * FRAME_US; us <= to; us += FRAME_US) tick(pen, layout.x(us), row, 3);
  }
  for (let us = Math.ceil(from / step / 1e6) * step * 1e6; us <= to; us += step * 1e6) {
    tick(pen, layout.x(us), row, 7);
    pen.fillText(`${(us / 1e6).toFixed(step < 1 ? 1 : 0)} s`, layout.x(us) + 4, row.y + 9);
  }
  pen.stroke();
  pen.fillStyle = "#8ab4f8";
  for (const us of clip.frame_timestamps_us) pen.fillRect(layout.x(us), row.y + row.height - 4, 1, 4);
}

function tick(pen, x, row, length) {
  pen.moveTo(Math.round(x) + 0.5, row.y + row.height - length);
  pen.lineTo(Math.round(x) + 0.5, row.y + row.height);
}

function drawFindings(pen, layout, row, { clip }) {
  pen.textAlign = "center";
  for (const finding of clip.findings.filter((one) => one.start_us !== null)) {
    const look = SEVERITIES[finding.severity];
    pen.fillStyle = look.colour;
    const x = layout.x(finding.start_us);
    if (finding.end_us !== null) pen.fillRect(x, row.y + 16, layout.x(finding.end_us) - x, 2);
    pen.fillText(look.sign, x, row.y + 8);
    pen.textAlign = "left";
    pen.fillText(finding.check, x + 7, row.y + 8);
    pen.textAlign = "center";
  }
  pen.textAlign = "left";
}

function drawSound(pen, layout, row, { clip, sound }) {
  band(pen, layout, row.y + 2, row.height - 6);
  const middle = row.y + row.height / 2 - 1;
  const half = row.height / 2 - 6;
  (clip.curves?.voice_activity ?? []).forEach((voice, frame) => {
    if (voice === null || voice < 0.5) return;
    pen.fillStyle = "rgba(103, 174, 232, .16)";
    pen.fillRect(layout.x(frame * FRAME_US), row.y + 2, FRAME_US / layout.us_per_px + 0.5, row.height - 6);
  });
  if (!sound) return;
  pen.fillStyle = "#67aee8";
  const loudest = Math.max(0.05, ...sound.levels);
  const start = Math.max(0, Math.floor(layout.view.from / sound.bin_us));
  const stop = Math.min(sound.levels.length, Math.ceil(layout.view.to / sound.bin_us));
  for (let i = start; i < stop; i += 1) {
    const height = Math.max(0.5, (sound.levels[i] / loudest) * half);
    pen.fillRect(layout.x(i * sound.bin_us), middle - height, Math.max(1, sound.bin_us / layout.us_per_px), 2 * height);
  }
}

function drawWords(pen, layout, row, { clip }) {
  for (const word of clip.transcript) {
    const x = layout.x(word.start_us);
    pen.fillStyle = BAND;
    pen.fillRect(x, row.y, (word.end_us - word.start_us) / layout.us_per_px - 1, row.height - 4);
    caption(pen, word.text, x - 4, (word.end_us - word.start_us) / layout.us_per_px + 8, row.y + row.height / 2 - 2, SOFT);
  }
}

function band(pen, layout, y, height) {
  pen.fillStyle = BAND;
  pen.fillRect(GUTTER, y, layout.width - GUTTER, height);
}

function drawMouth(pen, layout, row, { clip }) {
  band(pen, layout, row.y, row.height - 4);
  const values = clip.curves.mouth_open;
  const top = Math.max(1e-6, ...values.map((v) => v ?? 0));
  area(pen, layout, values, { top, y: row.y, height: row.height - 4, colour: colourOf("mouth") });
}

/** A filled curve, one value per frame; null values leave a gap. */
function area(pen, layout, values, { top, y, height, colour }) {
  const floor = y + height;
  const place = (k) => [layout.x((k + 0.5) * FRAME_US), floor - (Math.min(values[k], top) / top) * (height - 2)];
  pen.fillStyle = colour;
  pen.strokeStyle = colour;
  for (let k = 0; k < values.length; k += 1) {
    if (values[k] === null) continue;
    const start = k;
    while (k + 1 < values.length && values[k + 1] !== null) k += 1;
    const line = new Path2D();
    for (let i = start; i <= k; i += 1) line.lineTo(...place(i));
    const fill = new Path2D(line);
    fill.lineTo(place(k)[0], floor);
    fill.lineTo(place(start)[0], floor);
    pen.globalAlpha = 0.22;
    pen.fill(fill);
    pen.globalAlpha = 0.85;
    pen.stroke(line);
    pen.globalAlpha = 1;
  }
}

function drawTrack(pen, layout, row, { clip, phases, selected }) {
  const mine = phases.filter((phase) => phase.track === row.track);
  if (row.curve) drawSpeed(pen, layout, row, clip.curves.tracks[row.track], mine);
  row.others.forEach((layer, i) => {
    const y = row.y + row.bar + i * row.each + 1;
    for (const phase of layer.phases.filter((one) => one.track === row.track)) ghost(pen, layout, phase, y, row.each - 2);
  });
  for (const phase of clip.draft.rejected.filter((one) => one.track === row.track)) struck(pen, layout, phase, row.y + 2);
  for (const phase of mine) {
    bar(pen, layout, phase, row.y + 2, {
      isSelected: phase.phase_id === selected,
      isAccepted: clip.draft.decision === "accept" || clip.draft.accepted.includes(phase.phase_id),
    });
  }
}

function drawSpeed(pen, layout, row, curve, phases) {
  const y = row.y + row.height - 5 - row.curve;
  band(pen, layout, y, row.curve);
  const colour = colourOf(row.track);
  pen.fillStyle = colour;
  pen.globalAlpha = 0.13;
  for (const phase of phases) pen.fillRect(layout.x(phase.start_us), y, (phase.end_us - phase.start_us) / layout.us_per_px, row.curve);
  pen.globalAlpha = 1;
  const top = Math.max(CURVE_FULL, ...curve.speed.map((v) => v ?? 0));
  area(pen, layout, curve.speed, { top, y, height: row.curve, colour });
  const limit = Math.round(y + row.curve - (row.curve - 2) / top) + 0.5; // speed above which the part counts as moving
  pen.strokeStyle = FAINT;
  pen.setLineDash([1, 4]);
  pen.beginPath();
  pen.moveTo(GUTTER, limit);
  pen.lineTo(layout.width, limit);
  pen.stroke();
  pen.setLineDash([]);
}

function ghost(pen, layout, phase, y, height) {
  const x = layout.x(phase.start_us);
  const width = layout.x(phase.end_us) - x;
  pen.globalAlpha = 0.38;
  pen.fillStyle = colourOf(phase.track);
  pen.fillRect(x, y, width, height);
  pen.globalAlpha = 1;
  if (height > 9) caption(pen, phase.action.replaceAll("_", " "), x, width, y + height / 2 + 0.5, INK);
}

function struck(pen, layout, phase, y) {
  const x = layout.x(phase.start_us);
  const width = layout.x(phase.end_us) - x;
  pen.strokeStyle = FAINT;
  pen.setLineDash([3, 3]);
  pen.strokeRect(x + 0.5, y + 0.5, width - 1, BAR - 5);
  pen.setLineDash([]);
  caption(pen, `✕ ${phase.action.replaceAll("_", " ")}`, x, width, y + BAR / 2 - 2, FAINT);
}

function bar(pen, layout, phase, y, { isSelected, isAccepted }) {
  const x = layout.x(phase.start_us);
  const width = Math.max(2, layout.x(phase.end_us) - x);
  const height = BAR - 4;
  const fuzzy = fuzzyFill(pen, layout, phase);
  pen.fillStyle = fuzzy.fill;
  pen.fillRect(fuzzy.from, y, fuzzy.to - fuzzy.from, height);
  const pattern = patternOf(pen, phase.kind);
  if (pattern !== null) {
    pen.fillStyle = pattern;
    pen.fillRect(x, y, width, height);
  }
  for (const part of phase.kinematics.filter((one) => one.phase === "stroke")) {
    pen.fillStyle = "rgba(8, 10, 14, .55)";
    pen.fillRect(layout.x(part.start_us), y + height - 3, (part.end_us - part.start_us) / layout.us_per_px, 3);
  }
  const side = { left: " L", right: " R", both: " LR" }[phase.laterality] ?? "";
  const times = phase.repetitions > 1 ? ` ×${phase.repetitions}` : "";
  const sign = isAccepted ? "✓ " : phase.origin === "human" ? "✎ " : "";
  pen.fillStyle = colourOf(phase.track);
  for (const edge of [x, x + width - 1]) pen.fillRect(edge, y, 1, height);
  caption(pen, `${sign}${phase.action.replaceAll("_", " ")}${times}${side}`, x, width, y + height / 2 + 0.5, "#ffffff");
  if (isSelected) outline(pen, x, y, width, height);
}

/** A colour that fades at uncertain borders, and as a whole for uncertain phases. */
function fuzzyFill(pen, layout, phase) {
  const [a, b] = [phase.start_us, phase.end_us].map(layout.x);
  const [sa, sb] = [phase.start_sigma_us, phase.end_sigma_us].map((s) => Math.max(0.01, (SIGMAS * (s ?? 0)) / layout.us_per_px));
  const from = a - sa;
  const to = Math.max(b + sb, from + 1);
  const strength = 0.62 + 0.33 * (phase.confidence ?? 1);
  const alpha = (share) => colourOf(phase.track) + Math.round(255 * share).toString(16).padStart(2, "0");
  const fill = pen.createLinearGradient(from, 0, to, 0);
  const stop = (px) => Math.min(1, Math.max(0, (px - from) / (to - from)));
  const middle = (a + b) / 2;
  fill.addColorStop(0, alpha(0.05));
  fill.addColorStop(stop(Math.min(a + sa, middle)), alpha(strength));
  fill.addColorStop(stop(Math.max(b - sb, middle)), alpha(strength));
  fill.addColorStop(1, alpha(0.05));
  return { fill, from, to };
}

function outline(pen, x, y, width, height) {
  pen.strokeStyle = "#ffffff";
  pen.lineWidth = 2;
  pen.strokeRect(x, y, width, height);
  pen.lineWidth = 1;
  pen.fillStyle = "#ffffff";
  for (const edge of [x, x + width]) pen.fillRect(edge - 2.5, y + height / 2 - 5, 5, 10);
}

function caption(pen, text, x, width, y, colour) {
  if (width < 14) return;
  pen.save();
  pen.beginPath();
  pen.rect(x + 3, y - 10, width - 6, 20);
  pen.clip();
  const left = Math.max(x, GUTTER) + 5;
  pen.strokeStyle = "rgba(8, 10, 14, .7)"; // legible on every colour, faded or not
  pen.lineWidth = 3;
  pen.lineJoin = "round";
  pen.strokeText(text, left, y);
  pen.fillStyle = colour;
  pen.fillText(text, left, y);
  pen.restore();
}
