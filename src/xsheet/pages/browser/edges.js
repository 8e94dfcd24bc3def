// Move phase borders: snapping, limits, and the neighbour that moves too.

import { clamp, FRAME_US, MIN_PHASE_US, nearestEdge } from "/page/time.js";

/**
 * The time of a dragged edge: the nearest landmark within reach, else the nearest frame; unchanged if free.
 * @param {number} us time at the pointer
 * @param {{us: number, why: string}[]} landmarks
 * @param {{reach: number, free: boolean}} how reach in µs
 * @returns {{us: number, why: string}}
 */
export function snapped(us, landmarks, { reach, free }) {
  if (free) return { us: Math.round(us), why: "free" };
  const near = landmarks.filter((one) => Math.abs(one.us - us) <= reach);
  near.sort((a, b) => Math.abs(a.us - us) - Math.abs(b.us - us));
  return near[0] ?? { us: nearestEdge(us), why: "frame" };
}

/** Snap targets of a phase's edges: onsets of its track, frames that the model saw, cuts, and edges of other phases. */
export function landmarksOf(clip, phase) {
  const others = [...clip.draft.phases, ...clip.other_layers.flatMap((layer) => layer.phases)];
  return [
    ...(clip.curves?.tracks[phase.track]?.onsets_us ?? []).map((us) => ({ us, why: "onset" })),
    ...clip.cuts_us.map((us) => ({ us, why: "cut" })),
    ...clip.frame_timestamps_us.map((us) => ({ us, why: "model frame" })),
    ...others.filter((one) => one.phase_id !== phase.phase_id || one.start_us !== phase.start_us)
      .flatMap((one) => [one.start_us, one.end_us]).map((us) => ({ us, why: "edge" })),
  ];
}

/**
 * The changes that move one edge of a phase. A neighbour of the same track that touches the edge goes along; one that
 * does not is where the edge stops. No phase becomes shorter than the contract allows.
 * @param {Object[]} phases of the draft
 * @param {Object} phase
 * @param {"start"|"end"} edge
 * @param {number} us where to
 * @param {{end: number, alone?: boolean}} how end of the clip in µs; alone leaves the neighbour where it is
 * @returns {Object[]} changes; empty when nothing moves
 */
export function moved(phases, phase, edge, us, { end, alone = false }) {
  const sign = edge === "start" ? -1 : 1;
  const here = phase[`${edge}_us`];
  const [near, far] = edge === "start" ? ["end_us", "start_us"] : ["start_us", "end_us"];
  const beyond = phases.filter((one) => one.track === phase.track && one !== phase && sign * (one[near] - here) >= 0);
  const neighbour = beyond.sort((a, b) => sign * (a[near] - b[near]))[0];
  const goesAlong = neighbour !== undefined && neighbour[near] === here && !alone;
  let limit = edge === "start" ? 0 : end;
  if (neighbour !== undefined) limit = goesAlong ? neighbour[far] - sign * MIN_PHASE_US : neighbour[near];
  const inner = phase[edge === "start" ? "end_us" : "start_us"] + sign * MIN_PHASE_US;
  const to = clamp(us, Math.min(limit, inner), Math.max(limit, inner));
  if (to === here) return [];
  const changes = [{ phase_id: phase.phase_id, [`${edge}_us`]: to }];
  if (goesAlong) changes.push({ phase_id: neighbour.phase_id, [near]: to });
  return changes;
}

/** The free interval of a track from a time on, at most half a second; null if there is no room. */
export function freeSpan(phases, track, us, end) {
  const taken = phases.filter((one) => one.track === track);
  if (taken.some((one) => one.start_us <= us && us < one.end_us)) return null;
  const next = Math.min(end, ...taken.map((one) => one.start_us).filter((start) => start >= us));
  const stop = Math.min(next, us + 12 * FRAME_US);
  return stop - us < MIN_PHASE_US ? null : { start_us: us, end_us: stop };
}
