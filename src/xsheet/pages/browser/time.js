// Times are integer µs from the first frame; a clip has 25 frames per second (data contract).

export const FRAME_US = 40_000;
export const MIN_PHASE_US = 120_000; // shortest phase that the contract allows

export const frameAt = (us) => Math.floor(us / FRAME_US);
export const nearestEdge = (us) => Math.round(us / FRAME_US) * FRAME_US;
/** The middle of a frame in seconds, so that rounding in a player cannot show a neighbour. */
export const centreOf = (frame) => (frame + 0.5) * (FRAME_US / 1e6);
export const seconds = (us) => (us / 1e6).toFixed(3);
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
