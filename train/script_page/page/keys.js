// Key bindings: the same list runs the commands and fills the help.

import { el, fill } from "/page/dom.js";

const NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", Delete: "Del", Backspace: "⌫", Escape: "Esc" };

/** [keys, description, command, argument]; Shift is a prefix for letters and named keys. */
export const KEYS = [
  [[" "], "play, pause", "play"],
  [["ArrowLeft"], "10 ms back", "step", -10_000],
  [["ArrowRight"], "10 ms forward", "step", 10_000],
  [["Shift+ArrowLeft"], "0.1 s back", "step", -100_000],
  [["Shift+ArrowRight"], "0.1 s forward", "step", 100_000],
  [["p"], "loop the phase", "loop"],
  [["+", "="], "zoom in", "zoom", 1.6],
  [["-"], "zoom out", "zoom", 1 / 1.6],
  [["0"], "show the whole audio", "zoom", 0],
  [["n"], "new phase at the cursor", "new"],
  [["["], "phase starts at the cursor", "edge", "start"],
  [["]"], "phase ends at the cursor", "edge", "end"],
  [["{"], "last border 10 ms earlier", "nudge", -10_000],
  [["}"], "last border 10 ms later", "nudge", 10_000],
  [[","], "phase 10 ms earlier", "shift", -10_000],
  [["."], "phase 10 ms later", "shift", 10_000],
  [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "class of the phase, most common first", "digit"],
  [["e"], "edit the text", "focus", "text"],
  [["t"], "choose the track", "focus", "track"],
  [["c"], "choose the class", "focus", "action"],
  [["Delete", "Backspace"], "delete the phase", "delete"],
  [["z"], "undo", "undo"],
  [["y"], "redo", "redo"],
  [["Shift+S"], "sample the script", "sample"],
  [["Escape"], "back to the timeline", "leave"],
  [["?"], "this help", "help"],
];

const commands = new Map(KEYS.flatMap(([keys, , name, argument]) => keys.map((key) => [key, { name, argument }])));

/** The command of a key press; null if there is none, or if the focused field or button handles the key. */
export function commandOf(event) {
  const { target, key } = event;
  const isField = target.closest("input, textarea, select, dialog") !== null;
  if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "z" && !isField) return { name: event.shiftKey ? "redo" : "undo" };
  if ((event.ctrlKey || event.altKey || event.metaKey) && !event.getModifierState("AltGraph")) return null;
  if (key !== "Escape" && isField) return null;
  if (key === " " && target.closest("button:not(.bar)")) return null;
  const isLetter = /^[a-z]$/i.test(key);
  const plain = isLetter ? (event.shiftKey ? key.toUpperCase() : key.toLowerCase()) : key;
  return commands.get(event.shiftKey && (isLetter || key.length > 1) ? `Shift+${plain}` : plain) ?? null;
}

export function drawHelp(dialog) {
  const shown = (key) => key.replace("Shift+", "⇧ ").replace(/[A-Z]\w+| $/, (name) => NAMES[name] ?? name).replace(/^[a-z]$/, (one) => one.toUpperCase());
  const list = (keys) => (keys.length > 3 ? [`${keys[0]} – ${keys.at(-1)}`] : keys.map(shown));
  fill(
    dialog,
    el("h2", { textContent: "Keys" }),
    el("dl", {}, ...KEYS.flatMap(([keys, does]) => [el("dt", {}, ...list(keys).map((text) => el("kbd", { textContent: text }))), el("dd", { textContent: does })])),
    el("p", { textContent: "Drag on an empty part of a row to add a phase. Drag a phase to move it, also to another row. Drag a border to change its time: a phase that touches the border moves with it, unless you hold Shift." }),
    el("button", { textContent: "Close", on: { click: () => dialog.close() } }),
  );
}
