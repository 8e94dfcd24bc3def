// The panel: the list of phases, the form of the selected one, and its evidence.

import { classesOf, digitOf } from "/page/classes.js";
import { by, choice, el, fill } from "/page/dom.js";
import { colourOf, SEVERITIES } from "/page/palette.js";
import { frameAt, nearestEdge, seconds } from "/page/time.js";

const SIDES = { left: "L", right: "R", both: "LR", none: "" };
const OPERATIONS = { flip_side: "flipped side", new: "new phase", undo: "undo", accept: "accepted", reject: "rejected", edit: "edited", split: "split", merge: "merged", delete: "deleted", dispute: "measurement wrong" };

/** Draw the panel. `calls` are its callbacks: select(id), change(change), act(name), reject(reason), finding(one). */
export function drawPanel(clip, selected, vocabulary, blind, calls) {
  const phase = clip.draft.phases.find((one) => one.phase_id === selected) ?? null;
  drawBase(clip, blind);
  drawPhases(clip, selected, calls);
  drawForm(clip, phase, vocabulary, blind, calls);
  fill(by("facts"), ...[evidence(phase), findings(clip, phase, calls), provenance(clip.provenance), history(clip.draft.history)].filter(Boolean));
}

function drawBase(clip, blind) {
  const text = blind.includes("text") ? "hidden in this review" : clip.base ?? `no caption: the response was ${clip.response_status}`;
  fill(by("base"), el("h2", { textContent: "Clip" }), el("p", { className: "id", textContent: clip.clip_id }),
    clip.source_file ? el("p", { className: "file", textContent: clip.source_file }) : null,
    el("p", { textContent: text }));
}

function drawPhases(clip, selected, calls) {
  const { draft } = clip;
  const items = draft.phases.map((phase) => {
    const isAccepted = draft.decision === "accept" || draft.accepted.includes(phase.phase_id);
    const sign = isAccepted ? "✓" : phase.origin === "human" ? "✎" : "";
    const bad = clip.findings.find((one) => one.phase_id === phase.phase_id && !draft.disputed.includes(one.place));
    const button = el(
      "button",
      { className: "phase", on: { click: () => calls.select(phase.phase_id) }, aria: { current: phase.phase_id === selected } },
      swatch(phase.track),
      el("span", { className: "span", textContent: `${seconds(phase.start_us)}–${seconds(phase.end_us)}` }),
      el("span", { className: "class", textContent: phase.action.replaceAll("_", " ") }),
      el("span", { className: "side", textContent: SIDES[phase.laterality] }),
      el("span", { className: `sign ${bad?.severity ?? ""}`, textContent: `${bad ? SEVERITIES[bad.severity].sign : ""} ${sign}` }),
      phase.text ? el("span", { className: "words", textContent: phase.text }) : null,
    );
    return el("li", {}, button);
  });
  fill(by("phases"), ...items);
  if (!items.length) fill(by("phases"), el("li", { className: "none", textContent: "No phases. Press N to create one at the playhead." }));
}

function swatch(track) {
  const made = el("i", { className: "swatch", title: track.replaceAll("_", " ") });
  made.style.background = colourOf(track);
  return made;
}

function drawForm(clip, phase, vocabulary, blind, calls) {
  if (phase === null) {
    fill(by("form"), el("p", { className: "none", textContent: "Press Tab to select a phase." }));
    return;
  }
  const set = (name) => ({ change: (event) => calls.change({ phase_id: phase.phase_id, [name]: event.target.value }) });
  const usual = classesOf(phase.track);
  const actions = [...usual, ...vocabulary.action.filter((word) => !usual.includes(word))];
  const label = (word) => (digitOf(phase.track, word) ? `${digitOf(phase.track, word)}  ` : "") + word.replaceAll("_", " ");
  const hides = blind.includes("text") && phase.origin !== "human";
  const text = el("textarea", { id: "text", rows: 2, value: phase.text, maxLength: 400, placeholder: hides ? "hidden in this review" : "", on: set("text") });
  fill(
    by("form"),
    el("div", { className: "pair" }, field("Class", choice("action", actions, { chosen: phase.action, label, on: set("action") }), "1–9"), field("Track", choice("track", vocabulary.track, { chosen: phase.track, on: set("track") }), "T")),
    el("div", { className: "pair" }, edgeField(phase, "start", "[", calls), edgeField(phase, "end", "]", calls)),
    el("div", { className: "pair" }, field("Side (subject's own)", choice("laterality", vocabulary.laterality, { chosen: phase.laterality, on: set("laterality") }), "R"), field("Kind", choice("kind", vocabulary.kind, { chosen: phase.kind, on: set("kind") }))),
    el("div", { className: "pair three" }, ...["amplitude", "speed", "repetitions"].map((name) => numberField(phase, name, calls))),
    field("Text", text, "E"),
    field("Reject: reason", choice("reason", ["", ...vocabulary.reason], { on: { change: (event) => calls.reject(event.target.value) } }), "W"),
    el("div", { className: "actions" }, ...[["accept", "Accept", "↵", "yes"], ["reject", "Reject", "X", "no"], ["split", "Split", "S"], ["merge", "Merge", "M"], ["flip", "Flip", "R"], ["delete", "Delete", "Del"]].map(([name, title, key, look]) =>
      el("button", { className: look ?? "", on: { click: () => calls.act(name) } }, title, el("kbd", { textContent: key })))),
  );
}

function field(title, input, key = null) {
  return el("label", {}, el("span", {}, title, key === null ? null : el("kbd", { textContent: key })), input);
}

/** A text field for seconds; values are rounded to the nearest frame. */
function edgeField(phase, edge, key, calls) {
  const us = phase[`${edge}_us`];
  const change = (event) => {
    const typed = Number(event.target.value.replace(",", "."));
    if (Number.isFinite(typed)) calls.change({ phase_id: phase.phase_id, [`${edge}_us`]: nearestEdge(typed * 1e6) });
    else event.target.value = seconds(us);
  };
  const title = `${edge === "start" ? "Start" : "End"}, s · frame ${frameAt(us)}`;
  return field(title, el("input", { id: edge, value: seconds(us), inputMode: "decimal", autocomplete: "off", on: { change } }), key);
}

function numberField(phase, name, calls) {
  const [low, high] = name === "repetitions" ? [1, 99] : [0, 3];
  const change = (event) => calls.change({ phase_id: phase.phase_id, [name]: event.target.value === "" ? null : Number(event.target.value) });
  return field(name[0].toUpperCase() + name.slice(1), el("input", { id: name, type: "number", min: low, max: high, step: 1, value: phase[name] ?? "", on: { change } }));
}

function block(title, ...children) {
  return el("details", { open: true }, el("summary", { textContent: title }), ...children);
}

function table(rows) {
  const lines = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", {}, ...lines.flatMap(([name, value]) => [el("dt", { textContent: name }), value instanceof Node ? el("dd", {}, value) : el("dd", { textContent: String(value) })]));
}

const percent = (share) => (share === null || share === undefined ? null : `${Math.round(share * 100)} %`);
const plusMinus = (us) => (us === null ? null : `± ${Math.round(us / 1000)} ms`);

function evidence(phase) {
  if (phase === null) return null;
  const found = phase.evidence ?? {};
  return block("Evidence", table([
    ["made by", phase.origin],
    ["confidence", percent(phase.confidence)],
    ["borders", [plusMinus(phase.start_sigma_us), plusMinus(phase.end_sigma_us)].filter(Boolean).join(" / ")],
    ["samples with this phase", found.k ? `${found.support_k ?? 0} of ${found.k}` : null],
    ["motion inside : outside", found.motion_ratio?.toFixed(1)],
    ["part visible", percent(phase.visibility)],
    ["speech", phase.speech ? `${phase.speech.relation.replaceAll("_", " ")}${phase.speech.anchor_word ? ` “${phase.speech.anchor_word}”` : ""}` : null],
    ["starts on", phase.speech?.start_word ? `“${phase.speech.start_word}”` : null],
    ["ends on", phase.speech?.end_word ? `“${phase.speech.end_word}”` : null],
    ["class as the annotator wrote it", phase.action_raw],
    ["evidence of the annotator", found.text],
  ]));
}

function findings(clip, phase, calls) {
  if (!clip.findings.length) return null;
  const items = clip.findings.map((one) => {
    const numbers = one.evidence.map((number) => `${number.name} ${Number(number.value.toPrecision(3))}`).join(" · ");
    const isHere = phase !== null && one.phase_id === phase.phase_id;
    const isDisputed = clip.draft.disputed.includes(one.place);
    return el("li", { className: `${one.severity} ${isHere ? "here" : ""} ${isDisputed ? "disputed" : ""}` },
      el("button", { on: { click: () => calls.finding(one) } }, el("b", { textContent: `${SEVERITIES[one.severity].sign} ${one.check}` }), ` ${one.message}`),
      el("small", { textContent: isDisputed ? `${numbers} · ✓ annotation right, measurement wrong` : numbers }));
  });
  return block(`Findings (${clip.findings.length})`, el("ul", { className: "findings" }, ...items));
}

function provenance(run) {
  if (run === null) return null;
  const prompts = run.prompts.map((prompt) => el("details", {}, el("summary", {}, prompt.name, " ", el("code", { textContent: prompt.sha256.slice(0, 12) })), el("pre", { textContent: prompt.text })));
  return block("Provenance", table([["run", run.run_id], ["kind", run.kind], ["model", run.model], ["engine", run.engine], ["tool", run.tool], ["settings", run.settings_sha256?.slice(0, 12)], ["from", run.parents.join(", ")]]), ...prompts);
}

function history(reviews) {
  if (!reviews.length) return null;
  const lines = reviews.slice(-30).reverse().map((one) => el("li", {}, el("time", { textContent: one.at.slice(11, 19), dateTime: one.at }), ` ${OPERATIONS[one.operation]} ${one.phase_ids.join(", ")}`, one.note === null ? null : el("q", { textContent: one.note })));
  return block(`History (${reviews.length})`, el("ol", { className: "history" }, ...lines));
}
