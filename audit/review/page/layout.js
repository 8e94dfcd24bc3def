// Layout of the time axis: rows from top to bottom, time from left to right. Pixels are CSS pixels.

import { clamp } from "/page/time.js";

export const GUTTER = 100;
export const BAR = 22;
export const RULER = 22;
const GHOST = 6;
const CURVE = 22;
const RIGHT = 10;

/**
 * @param {Object} clip
 * @param {{width: number, view: {from: number, to: number}, ghosts: number}} how ghosts: 0 none, 1 thin, 2 full height
 */
export function layoutOf(clip, { width, view, ghosts }) {
  const rows = [];
  let y = 0;
  const add = (row, height) => {
    rows.push({ ...row, y, height });
    y += height;
  };
  add({ kind: "ruler", label: "" }, RULER);
  if (clip.findings.length) add({ kind: "findings", label: "findings" }, 20);
  add({ kind: "sound", label: "sound" }, 44);
  if (clip.transcript.length) add({ kind: "words", label: "words" }, 18);
  if (clip.curves?.mouth_open.length) add({ kind: "mouth", label: "mouth opening" }, 26);
  for (const track of tracksOf(clip)) {
    const said = [...clip.draft.phases, ...clip.draft.rejected].some((phase) => phase.track === track);
    const others = ghosts ? clip.other_layers.filter((layer) => layer.phases.some((phase) => phase.track === track)) : [];
    const each = ghosts === 2 ? 14 : GHOST;
    const bar = said || others.length ? BAR : 0;
    const curve = clip.curves?.tracks[track] ? CURVE : 0;
    add({ kind: "track", label: track.replaceAll("_", " "), track, bar, others, each, curve }, bar + each * others.length + curve + 5);
  }
  const scale = (width - GUTTER - RIGHT) / (view.to - view.from);
  return {
    rows, width, height: y + 4, view,
    x: (us) => GUTTER + (us - view.from) * scale,
    us: (x) => clamp((x - GUTTER) / scale + view.from, 0, clip.duration_us),
    us_per_px: 1 / scale,
  };
}

/** Tracks with phases or a curve, in the order of the body from the head down. */
export function tracksOf(clip) {
  const order = ["head", "gaze", "brows", "mouth", "face", "torso", "arm_left", "arm_right", "arms", "hands", "legs", "whole_body", "object"];
  const layers = [clip.draft, ...clip.other_layers];
  const said = new Set(layers.flatMap((layer) => layer.phases).concat(clip.draft.rejected).map((phase) => phase.track));
  return order.filter((track) => said.has(track) || track in (clip.curves?.tracks ?? {}));
}

/** The phase of the draft under a point, and its edge if the point is near one; null if there is no phase. */
export function hit(layout, phases, x, y, { near = 6 } = {}) {
  const row = layout.rows.find((one) => one.kind === "track" && y >= one.y && y < one.y + one.bar);
  if (row === undefined) return null;
  let best = null;
  for (const phase of phases.filter((one) => one.track === row.track)) {
    for (const edge of ["start", "end"]) {
      const far = Math.abs(layout.x(phase[`${edge}_us`]) - x);
      if (far <= near && far < (best?.far ?? Infinity)) best = { phase, edge, far };
    }
  }
  if (best !== null) return best;
  const us = layout.us(x);
  const inside = phases.find((one) => one.track === row.track && one.start_us <= us && us < one.end_us);
  return inside === undefined ? null : { phase: inside, edge: null };
}
