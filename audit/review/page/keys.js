// The keys, said once: what runs them is what the help shows.

import { el, fill } from "/page/dom.js";
import { colourOf, KINDS, patternOf } from "/page/palette.js";

const NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Enter: "↵", Delete: "Del", Escape: "Esc", Backspace: "⌫" };

/** Groups of [keys, what they do, name of the command, arguments]. Capitals are with Shift. */
export const KEYS = [
  ["Watch", [
    [[" "], "play, pause", "play"],
    [["j"], "backwards", "backwards"],
    [["k"], "stop", "stop"],
    [["l"], "forwards, again: faster", "faster"],
    [["ArrowLeft"], "a frame back", "step", -1],
    [["ArrowRight"], "a frame on", "step", 1],
    [["Shift+ArrowLeft"], "¼ s back", "step", -6],
    [["Shift+ArrowRight"], "¼ s on", "step", 6],
    [["p"], "this phase again and again", "loop"],
    [["+", "="], "closer", "zoom", 1.6],
    [["-"], "farther", "zoom", 1 / 1.6],
    [["0"], "whole clip", "zoom", 0],
    [["v"], "other layers: thin, full, none", "compare"],
  ]],
  ["Choose", [
    [["Tab"], "next phase", "choose", 1],
    [["Shift+Tab"], "phase before", "choose", -1],
    [["g"], "next finding", "finding", 1],
    [["Shift+G"], "finding before", "finding", -1],
    [["ArrowDown"], "next clip", "clip", 1],
    [["ArrowUp"], "clip before", "clip", -1],
    [["/"], "filter the queue", "filter"],
    [["Escape"], "back to the time axis", "leave"],
  ]],
  ["Decide", [
    [["a"], "accept clip, go to the next", "acceptClip"],
    [["Shift+X"], "reject clip", "rejectClip"],
    [["u"], "unsure: leave it open, go on", "unsure"],
    [["Enter"], "accept phase", "accept"],
    [["x"], "reject phase", "reject"],
    [["w"], "reject phase, and say why", "focus", "reason"],
    [["z"], "undo", "undo"],
    [["y"], "redo", "redo"],
  ]],
  ["Change", [
    [["["], "starts here", "edge", "start"],
    [["]"], "ends with this frame", "edge", "end"],
    [["{"], "border a frame earlier", "nudge", -1],
    [["}"], "border a frame later", "nudge", 1],
    [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "class; held while playing: a new phase", "digit"],
    [["e"], "text", "focus", "text"],
    [["c"], "class", "focus", "action"],
    [["t"], "track", "focus", "track"],
    [["r"], "the other side", "flip"],
    [["s"], "split here", "split"],
    [["m"], "merge with the next of its track", "merge"],
    [["n"], "new phase here", "new"],
    [["Delete", "Backspace"], "delete phase", "delete"],
    [["?"], "this help", "help"],
  ]],
];

const commands = new Map(KEYS.flatMap(([, rows]) => rows.flatMap(([keys, , name, argument]) => keys.map((key) => [key, { name, argument }]))));

/** The command of a key press; null when it has none, or when it belongs to the field or button it was typed in. */
export function commandOf(event) {
  // AltGr makes brackets on many keyboards; it is no modifier of ours.
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

/** What the patterns on the bars mean. */
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

/** The help, into a dialog. */
export function drawHelp(dialog) {
  const shown = (key) => key.replace(/Shift\+/, "⇧ ").replace(/[A-Z]\w+| $/, (name) => NAMES[name] ?? name).replace(/^[a-z]$/, (letter) => letter.toUpperCase());
  const list = (keys) => (keys.length > 3 ? [`${keys[0]} – ${keys.at(-1)}`] : keys.map(shown)).map((text) => el("kbd", { textContent: text }));
  fill(
    dialog,
    el("h2", { textContent: "Keys" }),
    el("div", { className: "groups" }, ...KEYS.map(([title, rows]) =>
      el("section", {}, el("h3", { textContent: title }), el("dl", {}, ...rows.flatMap(([keys, does]) => [el("dt", {}, ...list(keys)), el("dd", { textContent: does })]))))),
    el("p", { className: "patterns" }, ...kinds().flatMap(([kind, tile]) => [tile, ` ${kind.replaceAll("_", " ")} `])),
    el("p", { textContent: "Drag a border to move it: it snaps to frames, stamps, onsets, cuts and other borders; Alt lets it go free, Shift leaves a touching neighbour where it is. Double click plays a phase again and again." }),
    el("button", { textContent: "Close", on: { click: () => dialog.close() } }),
  );
}
