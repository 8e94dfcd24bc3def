// Time is integer µs from the first frame; a clip has 25 frames a second (the set's contract).

export const FRAME_US = 40_000;
export const MIN_PHASE_US = 120_000; // the shortest phase of the contract

export const frameAt = (us) => Math.floor(us / FRAME_US);
export const nearestEdge = (us) => Math.round(us / FRAME_US) * FRAME_US;
/** The middle of a frame, in seconds: no rounding of a player can show its neighbour. */
export const centreOf = (frame) => (frame + 0.5) * (FRAME_US / 1e6);
export const seconds = (us) => (us / 1e6).toFixed(3);
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
