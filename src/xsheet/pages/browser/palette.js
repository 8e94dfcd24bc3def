// Colours by body part (palette of Okabe and Ito, distinguishable with colour blindness) and patterns by kind of phase.

export const INK = "#e9e7e2";
export const SOFT = "#a0a7b1";
export const FAINT = "#6b7380";
export const LINE = "#2a3038";
export const BAND = "#171b20";
export const PLAYHEAD = "#ffffff";

const PARTS = {
  head: "#56b4e9", gaze: "#6f9fe0", brows: "#f0e442", mouth: "#cc79a7", face: "#d992bb", torso: "#1fae85",
  arm_left: "#e69f00", arm_right: "#e5793a", arms: "#e69f00", hands: "#e69f00", legs: "#1fae85",
  whole_body: "#8b94a0", object: "#b9c0c9",
};
export const colourOf = (track) => PARTS[track] ?? SOFT;

// Symbol and colour carry the same information, for colour-blind reviewers.
export const SEVERITIES = {
  error: { colour: "#ff7a59", sign: "◆", word: "error" },
  warning: { colour: "#f0c04a", sign: "▲", word: "warning" },
  info: { colour: "#7fb8e8", sign: "●", word: "info" },
};

const LINES = {
  gesture: [[0, 8, 8, 0]],
  posture: [[0, 4, 8, 4]],
  expression: [[4, 0, 4, 8]],
  gaze: [[0, 0, 8, 8]],
  rest: [[0, 2, 2, 2], [4, 6, 6, 6]],
  locomotion: [[0, 4, 8, 4], [4, 0, 4, 8]],
  object_use: [[0, 0, 8, 8], [0, 8, 8, 0]],
};
export const KINDS = ["action", ...Object.keys(LINES)];
const made = new Map();

/** The pattern of a kind of phase: dark lines over the colour; null for a plain action. */
export function patternOf(context, kind) {
  if (!(kind in LINES)) return null;
  if (!made.has(kind)) {
    const tile = new OffscreenCanvas(8, 8);
    const pen = tile.getContext("2d");
    pen.strokeStyle = "rgba(8, 10, 14, .34)";
    pen.lineWidth = 1.4;
    for (const [x0, y0, x1, y1] of LINES[kind]) {
      pen.moveTo(x0, y0);
      pen.lineTo(x1, y1);
    }
    pen.stroke();
    made.set(kind, tile);
  }
  return context.createPattern(made.get(kind), "repeat");
}
