// Key bindings: the same list runs the commands and fills the help.

import { el, fill } from "/page/dom.js";
import { colourOf, KINDS, patternOf } from "/page/palette.js";

const NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Enter: "↵", Delete: "Del", Escape: "Esc", Backspace: "⌫" };

/** Groups of [keys, description, command name, argument]. Capital letters mean Shift. */
export const KEYS = [
  ["Watch", [
    [[" "], "play, pause", "play"],
    [["j"], "backwards", "backwards"],
    [["k"], "stop", "stop"],
    [["l"], "forwards; again for faster", "faster"],
    [["ArrowLeft"], "one frame back", "step", -1],
    [["ArrowRight"], "one frame forward", "step", 1],
    [["Shift+ArrowLeft"], "¼ s back", "step", -6],
    [["Shift+ArrowRight"], "¼ s forward", "step", 6],
    [["p"], "loop this phase", "loop"],
    [["+", "="], "zoom in", "zoom", 1.6],
    [["-"], "zoom out", "zoom", 1 / 1.6],
    [["0"], "show the whole clip", "zoom", 0],
    [["v"], "other layers: thin, full, none", "compare"],
  ]],
  ["Choose", [
    [["Tab"], "next phase", "choose", 1],
    [["Shift+Tab"], "previous phase", "choose", -1],
    [["g"], "next finding", "finding", 1],
    [["Shift+G"], "previous finding", "finding", -1],
    [["ArrowDown"], "next clip", "clip", 1],
    [["ArrowUp"], "previous clip", "clip", -1],
    [["/"], "filter the queue", "filter"],
    [["Escape"], "back to the time axis", "leave"],
  ]],
  ["Decide", [
    [["a"], "accept clip, go to the next", "acceptClip"],
    [["Shift+X"], "reject clip", "rejectClip"],
    [["u"], "unsure: leave the clip open, go to the next", "unsure"],
    [["Enter"], "accept phase", "accept"],
    [["x"], "reject phase", "reject"],
    [["w"], "reject phase with a reason", "focus", "reason"],
    [["d"], "annotation right, measurement of the shown check wrong", "dispute"],
    [["z"], "undo", "undo"],
    [["y"], "redo", "redo"],
  ]],
  ["Change", [
    [["["], "phase starts here", "edge", "start"],
    [["]"], "phase ends with this frame", "edge", "end"],
    [["{"], "last border one frame earlier", "nudge", -1],
    [["}"], "last border one frame later", "nudge", 1],
    [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "set the class; hold while playing: new phase", "digit"],
    [["e"], "edit the text", "focus", "text"],
    [["c"], "choose the class", "focus", "action"],
    [["t"], "choose the track", "focus", "track"],
    [["r"], "switch the side (left/right)", "flip"],
    [["s"], "split here", "split"],
    [["m"], "merge with the next phase of the track", "merge"],
    [["n"], "new phase here", "new"],
    [["Delete", "Backspace"], "delete phase", "delete"],
    [["?"], "this help", "help"],
  ]],
];

const commands = new Map(KEYS.flatMap(([, rows]) => rows.flatMap(([keys, , name, argument]) => keys.map((key) => [key, { name, argument }]))));

/** The command of a key press; null if there is none, or if the focused field or button handles the key. */
export function commandOf(event) {
  // Many keyboards type brackets with AltGr, so it is not a modifier here.
  if ((event.ctrlKey || event.altKey || event.metaKey) && !event.getModifierState("AltGraph")) return null;
  const { target } = event;
  if (event.key !== "Escape") {
    if (target.closest("input, textarea, select, dialog")) return null;
    if (["Enter", " "].includes(event.key) && target.closest("button, summary")) return null;
    if (event.key === "Tab" && target !== document.body && !target.closest("#axis")) return null;
  }
  const isNamed = event.key.length > 1;
  const isLetter = /^[a-z]$/i.test(event.key);
  const key = isLetter ? (event.shiftKey ? event.key.toUpperCase() : event.key.toLowerCase()) : event.key;
  return commands.get(event.shiftKey && (isNamed || isLetter) ? `Shift+${key}` : key) ?? null;
}

/** Legend of the bar patterns. */
function kinds() {
  return KINDS.map((kind) => {
    const tile = el("canvas", { width: 34, height: 14 });
    const pen = tile.getContext("2d");
    for (const fill of [colourOf("whole_body"), patternOf(pen, kind)].filter(Boolean)) {
      pen.fillStyle = fill;
      pen.fillRect(0, 0, 34, 14);
    }
    return [kind, tile];
  });
}

/** Draw the help into a dialog. */
export function drawHelp(dialog) {
  const shown = (key) => key.replace(/Shift\+/, "⇧ ").replace(/[A-Z]\w+| $/, (name) => NAMES[name] ?? name).replace(/^[a-z]$/, (letter) => letter.toUpperCase());
  const list = (keys) => (keys.length > 3 ? [`${keys[0]} – ${keys.at(-1)}`] : keys.map(shown)).map((text) => el("kbd", { textContent: text }));
  fill(
    dialog,
    el("h2", { textContent: "Keys" }),
    el("div", { className: "groups" }, ...KEYS.map(([title, rows]) =>
      el("section", {}, el("h3", { textContent: title }), el("dl", {}, ...rows.flatMap(([keys, does]) => [el("dt", {}, ...list(keys)), el("dd", { textContent: does })]))))),
    el("p", { className: "patterns" }, ...kinds().flatMap(([kind, tile]) => [tile, ` ${kind.replaceAll("_", " ")} `])),
    el("p", { textContent: "Drag a border to move it. It snaps to frames, to the frames that the model received, to onsets, cuts and other borders. Hold Alt to move it freely, Shift to leave a touching neighbour in place. Double-click a phase to loop it." }),
    el("button", { textContent: "Close", on: { click: () => dialog.close() } }),
  );
}
