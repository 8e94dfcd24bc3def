// The form of the selected phase, and the fields of the whole script.

import { classesOf, digitOf } from "/page/classes.js";
import { by, el, fill } from "/page/dom.js";
import { GRID_US, onGrid, shifted } from "/page/place.js";
import { MIN_PHASE_US } from "/page/time.js";

const SPEAKING = ["speaking", "listening", "silent", "mixed"];
const SIDES = ["none", "left", "right", "both"];
const seconds = (us) => (us % GRID_US === 0 ? (us / 1e6).toFixed(2) : String(us / 1e6));
const plain = (word) => word.replaceAll("_", " ");

export class Form {
  #facts;
  #page;
  #shown = null;

  /** @param {Object} facts tracks, actions, sided_tracks, texts; @param {Object} page receives changes */
  constructor(facts, page) {
    this.#facts = facts;
    this.#page = page;
    for (const [id, words] of Object.entries({ track: facts.tracks, laterality: SIDES, speaking: SPEAKING })) {
      fill(by(id), ...words.map((word) => el("option", { value: word, textContent: plain(word) })));
    }
    by("text").addEventListener("input", () => this.#setText(by("text").value));
    by("action").addEventListener("change", () => this.setClass(by("action").value));
    by("laterality").addEventListener("change", () => this.#setSide(by("laterality").value));
    by("track").addEventListener("change", () => this.#setTrack(by("track").value));
    for (const edge of ["start", "end"]) by(edge).addEventListener("change", () => this.#setEdge(edge));
    by("base").addEventListener("input", () => page.set({ base: by("base").value }, "base"));
    by("speaking").addEventListener("change", () => page.set({ speaking: by("speaking").value }));
  }

  /** Class, side and text of a new phase on a track. */
  first(track) {
    const action = classesOf(track)[0] ?? "other";
    const laterality = this.#sideFor(track, action, "left");
    return { track, action, laterality, text: this.#textOf(action, laterality) };
  }

  show(state, phase) {
    setValue("base", state.base);
    setValue("speaking", state.speaking);
    by("base").classList.toggle("wrong", state.base.trim().length < 20);
    by("form").hidden = phase === null;
    this.#shown = phase;
    if (phase === null) return;
    const { track } = phase;
    const common = classesOf(track);
    const others = this.#facts.actions.filter((one) => !common.includes(one));
    const name = (one) => (digitOf(track, one) ? `${digitOf(track, one)}  ${plain(one)}` : plain(one));
    fill(by("action"), ...[...common, ...others].map((one) => el("option", { value: one, textContent: name(one) })));
    for (const field of ["text", "track", "action", "laterality"]) setValue(field, phase[field]);
    for (const edge of ["start", "end"]) setValue(edge, seconds(phase[`${edge}_us`]));
    by("laterality").disabled = track in this.#facts.sided_tracks;
    by("text").classList.toggle("wrong", phase.text.trim().length < 3);
    const texts = common.flatMap((one) => this.#sidesOf(track, one).map((side) => this.#facts.texts[one][side]));
    fill(by("texts"), ...[...new Set(texts)].map((value) => el("option", { value })));
  }

  setClass(action) {
    const phase = this.#shown;
    const laterality = this.#sideFor(phase.track, action, phase.laterality);
    this.#change({ action, laterality, ...this.#newText(action, laterality) });
  }

  /** A text that is a suggestion names class and side as well. */
  #setText(text) {
    for (const action of classesOf(this.#shown.track)) {
      const side = this.#sidesOf(this.#shown.track, action).find((one) => this.#facts.texts[action][one] === text);
      if (side !== undefined) return this.#change({ text, action, laterality: this.#sideFor(this.#shown.track, action, side) });
    }
    this.#change({ text }, `text ${this.#shown.phase_id}`);
  }

  #setSide(laterality) {
    this.#change({ laterality, ...this.#newText(this.#shown.action, laterality) });
  }

  #setTrack(track) {
    const phase = this.#shown;
    const start_us = shifted(this.#page.state.phases, phase, track, phase.start_us, this.#facts.duration_us);
    if (start_us === null || start_us !== phase.start_us) {
      this.#page.notice(`${plain(track)} has another phase at this time.`);
      setValue("track", phase.track);
      return;
    }
    this.#page.change([this.onTrack(phase, track)]);
  }

  /** Changes of a phase that goes to another track; its text changes too if nobody wrote it. */
  onTrack(phase, track) {
    const isKnown = classesOf(track).includes(phase.action) || !this.#isSuggestion(phase);
    const to = isKnown ? { laterality: this.#sideFor(track, phase.action, phase.laterality) } : this.first(track);
    const text = isKnown && this.#isSuggestion(phase) ? { text: this.#textOf(phase.action, to.laterality) } : {};
    return { phase_id: phase.phase_id, ...to, ...text, track };
  }

  #setEdge(edge) {
    const us = onGrid(Number(by(edge).value) * 1e6);
    const { phases } = this.#page.state;
    const span = { ...this.#shown, [`${edge}_us`]: us };
    const others = phases.filter((one) => one.track === span.track && one.phase_id !== span.phase_id);
    const isFree = others.every((one) => one.end_us <= span.start_us || one.start_us >= span.end_us);
    const isWrong = !(us >= 0 && us <= this.#facts.duration_us) || span.end_us - span.start_us < MIN_PHASE_US || !isFree;
    if (isWrong) this.#page.notice("A phase lasts at least 0.12 s, ends within the audio and overlaps no other phase of its track.");
    else this.#change({ [`${edge}_us`]: us });
    setValue(edge, seconds(this.#shown[`${edge}_us`]));
  }

  #change(changes, key = null) {
    this.#page.change([{ phase_id: this.#shown.phase_id, ...changes }], key);
  }

  #newText(action, laterality) {
    return this.#isSuggestion(this.#shown) || this.#shown.text === "" ? { text: this.#textOf(action, laterality) } : {};
  }

  #isSuggestion(phase) {
    return Object.values(this.#facts.texts[phase.action]).includes(phase.text);
  }

  #textOf(action, laterality) {
    const texts = this.#facts.texts[action];
    return texts[laterality] ?? texts.none ?? texts.left;
  }

  #sideFor(track, action, wanted) {
    if (track in this.#facts.sided_tracks) return this.#facts.sided_tracks[track];
    const texts = this.#facts.texts[action];
    return "none" in texts ? "none" : wanted in texts ? wanted : "left";
  }

  #sidesOf(track, action) {
    const sides = Object.keys(this.#facts.texts[action]);
    const own = this.#facts.sided_tracks[track];
    return own === undefined || !sides.includes(own) ? sides : [own];
  }
}

/** Set a field without moving the caret of one that holds the value already. */
function setValue(id, value) {
  if (by(id).value !== value) by(id).value = value;
}
