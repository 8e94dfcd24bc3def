// Places of phases on a track. Times are integer µs; what a person draws is on a grid of 10 ms.

import { clamp, MIN_PHASE_US } from "/page/time.js";

export const GRID_US = 10_000;
export const onGrid = (us) => Math.round(us / GRID_US) * GRID_US;

/** Free intervals of a track, without one phase. */
function gaps(phases, track, except, end) {
  const taken = phases.filter((one) => one.track === track && one.phase_id !== except).sort((a, b) => a.start_us - b.start_us);
  const starts = [0, ...taken.map((one) => one.end_us)];
  const ends = [...taken.map((one) => one.start_us), end];
  return starts.map((from, k) => ({ from, to: ends[k] }));
}

/** The span of a new phase between two times, inside the gap that holds the first; null where there is no room. */
export function drawn(phases, track, a, b, end) {
  const gap = gaps(phases, track, null, end).find((one) => one.from <= a && a < one.to);
  if (gap === undefined || gap.to - gap.from < MIN_PHASE_US) return null;
  let [start, stop] = [Math.min(a, b), Math.max(a, b)].map((us) => clamp(onGrid(us), gap.from, gap.to));
  if (stop - start < MIN_PHASE_US) {
    start = clamp(start, gap.from, gap.to - MIN_PHASE_US);
    stop = start + MIN_PHASE_US;
  }
  return { start_us: start, end_us: stop };
}

/** The free start nearest to a time for a phase of its length; null if no gap of the track is long enough. */
export function shifted(phases, phase, track, us, end) {
  const length = phase.end_us - phase.start_us;
  const starts = gaps(phases, track, phase.phase_id, end)
    .filter((gap) => gap.to - gap.from >= length)
    .map((gap) => clamp(us, gap.from, gap.to - length));
  starts.sort((a, b) => Math.abs(a - us) - Math.abs(b - us));
  return starts[0] ?? null;
}
