// The script page: a script over the waveform of its audio, saved after every change.

import * as api from "/page/api.js";
import { classOf } from "/page/classes.js";
import { by } from "/page/dom.js";
import { moved } from "/page/edges.js";
import { Form } from "/page/form.js";
import { asSaved, History, newId } from "/page/history.js";
import { commandOf, drawHelp } from "/page/keys.js";
import { drawn, GRID_US, onGrid, shifted } from "/page/place.js";
import { Samples } from "/page/samples.js";
import { clamp } from "/page/time.js";
import { Timeline } from "/page/timeline.js";
import { waveform } from "/page/waveform.js";

const SAVE_AFTER_MS = 300;
const NEW_US = 600_000;
const NOTICE_MS = 4000;
const VERDICTS = { saved: "ok", failed: "bad" };

class Page {
  #facts;
  #end; // the last time of the grid inside the audio
  #history;
  #selected = null;
  #edge = "end";
  #sha256;
  #timer = null;
  #saving = Promise.resolve();
  #isSaved = true;
  #loop = null;

  constructor(facts) {
    this.#facts = facts;
    this.#end = Math.floor(facts.duration_us / GRID_US) * GRID_US;
    this.#sha256 = facts.sha256;
    this.#history = new History(facts.script);
    this.video = by("video");
    this.timeline = new Timeline({
      ...facts,
      calls: {
        seek: (us) => this.seek(us),
        select: (id) => this.select(id),
        create: (track, span) => this.create(track, span),
        change: (changes, edge) => this.#dropped(changes, edge),
        drop: (us) => {
          this.select(null);
          this.seek(us);
        },
        drag: (span) => this.#showTime(span),
      },
    });
    this.form = new Form(facts, this);
    this.samples = new Samples((address) => this.#load(address));
    this.video.addEventListener("timeupdate", () => this.#tick());
    for (const name of ["play", "pause"]) this.video.addEventListener(name, () => this.#playing());
    this.#draw();
    this.#showSaved(this.#sha256 === null ? "new" : "saved");
  }

  get state() {
    return this.#history.state;
  }

  get phase() {
    return this.state.phases.find((one) => one.phase_id === this.#selected) ?? null;
  }

  notice(text) {
    by("notice").textContent = text;
    clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => (by("notice").textContent = ""), NOTICE_MS);
  }

  // ---- the script

  set(changes, key = null) {
    this.#history.set({ ...this.state, ...changes }, key);
    this.#changed();
  }

  change(changes, key = null) {
    this.#history.change(changes, key);
    this.#changed();
  }

  create(track, span) {
    const phase = { phase_id: newId(), ...this.form.first(track), ...span };
    this.#selected = phase.phase_id;
    this.set({ phases: [...this.state.phases, phase] });
    by("timeline").focus({ preventScroll: true });
  }

  /** A bar was dropped in a new place. */
  #dropped(changes, edge) {
    if (edge !== null) this.#edge = edge;
    const phase = this.state.phases.find((one) => one.phase_id === changes[0].phase_id);
    const isOther = changes[0].track !== undefined && changes[0].track !== phase.track;
    this.change(isOther ? [{ ...changes[0], ...this.form.onTrack(phase, changes[0].track) }] : changes);
  }

  newPhase() {
    const track = this.phase?.track ?? "head";
    const us = onGrid(this.timeline.us);
    const span = drawn(this.state.phases, track, us, us + NEW_US, this.#end);
    if (span === null) this.notice(`${track.replaceAll("_", " ")} already has a phase here.`);
    else this.create(track, span);
  }

  delete() {
    if (this.phase === null) return;
    this.set({ phases: this.state.phases.filter((one) => one.phase_id !== this.#selected) });
    by("timeline").focus({ preventScroll: true });
  }

  edgeTo(edge, us) {
    if (this.phase === null) return this.notice("Select a phase first.");
    this.#edge = edge;
    const changes = moved(this.state.phases, this.phase, edge, us, { end: this.#end });
    if (changes.length) this.change(changes);
    else this.notice("The border cannot move there.");
  }

  nudge(us) {
    if (this.phase !== null) this.edgeTo(this.#edge, this.phase[`${this.#edge}_us`] + us);
  }

  shift(us) {
    const { phase } = this;
    if (phase === null) return;
    const start = shifted(this.state.phases, phase, phase.track, phase.start_us + us, this.#end);
    if (start === null || start === phase.start_us) return;
    this.change([{ phase_id: phase.phase_id, start_us: start, end_us: start + phase.end_us - phase.start_us }]);
  }

  digit(digit) {
    const action = this.phase && classOf(this.phase.track, digit);
    if (action) this.form.setClass(action);
  }

  undo(steps) {
    this.#history.move(steps);
    this.#changed();
  }

  select(id) {
    this.#selected = id;
    this.#draw();
  }

  #draw() {
    if (this.phase === null) this.#selected = null;
    this.timeline.show(this.state, this.#selected);
    this.form.show(this.state, this.phase);
    by("undo").disabled = !this.#history.canUndo;
    by("redo").disabled = !this.#history.canRedo;
    by("hint").hidden = this.state.phases.length > 2;
  }

  // ---- saving

  #changed() {
    this.#draw();
    this.#isSaved = false;
    this.#showSaved("changed");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.save(), SAVE_AFTER_MS);
  }

  /** Save the script as it is now, after a save in progress; whether it is saved. */
  save() {
    clearTimeout(this.#timer);
    this.#saving = this.#saving.then(() => this.#save());
    return this.#saving;
  }

  async #save() {
    const { state } = this;
    if (this.#isSaved && this.#sha256 !== null) return true;
    try {
      ({ sha256: this.#sha256 } = await api.save(asSaved(state), this.#sha256));
    } catch (error) {
      by("alert").hidden = error.status !== 409;
      by("alert").firstElementChild.textContent = `${error.message}: your changes here are not saved.`;
      this.#showSaved("failed", error.message);
      return false;
    }
    by("alert").hidden = true;
    if (state === this.state) {
      this.#isSaved = true;
      this.#showSaved("saved");
    }
    return this.#isSaved;
  }

  get isSaved() {
    return this.#isSaved;
  }

  #showSaved(verdict, why = "") {
    const { file } = this.#facts;
    by("saved").className = VERDICTS[verdict] ?? "";
    by("saved").textContent = { saved: `Saved in ${file}`, failed: `Not saved: ${why}`, changed: "Saving …", new: `New: ${file}` }[verdict];
  }

  async sample() {
    if (await this.save()) await this.samples.start();
    else this.notice("Correct the script first: it is not saved.");
  }

  // ---- playback

  seek(us) {
    const to = clamp(us, 0, this.#facts.duration_us);
    this.video.currentTime = to / 1e6;
    this.timeline.at(to);
    this.#showTime(null);
  }

  step(us) {
    this.video.pause();
    this.seek(onGrid(this.timeline.us + us));
  }

  toggle() {
    this.#loop = null;
    if (!this.video.paused) return this.video.pause();
    if (this.video.ended || this.timeline.us >= this.#facts.duration_us - 20_000) this.seek(0);
    this.#play();
  }

  loopPhase() {
    if (this.phase === null) return;
    this.seek(this.phase.start_us);
    this.#loop = this.#selected;
    this.#play();
  }

  #play() {
    this.video.play().catch(() => {}); // a pause or another video interrupts it
  }

  #load(address) {
    const { currentTime } = this.video;
    if (!this.video.poster) this.video.poster = "/media/portrait";
    this.video.src = address;
    this.video.currentTime = currentTime;
  }

  #playing() {
    by("play").textContent = this.video.paused ? "▶" : "⏸";
    if (this.video.paused) return;
    const frame = () => {
      this.#tick();
      if (!this.video.paused) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  #tick() {
    if (this.video.paused) return;
    const us = this.video.currentTime * 1e6;
    const looped = this.state.phases.find((one) => one.phase_id === this.#loop);
    if (looped && us >= looped.end_us) return this.seek(looped.start_us);
    this.timeline.at(clamp(us, 0, this.#facts.duration_us));
    this.#showTime(null);
  }

  /** The cursor's time, or the span that a pointer drags. */
  #showTime(span) {
    const text = (us) => (us / 1e6).toFixed(2);
    by("timecode").textContent = span ? `${text(span.start_us)} – ${text(span.end_us)} s` : `${text(this.timeline.us)} s`;
  }
}

const COMMANDS = {
  play: (it) => it.toggle(),
  step: (it, us) => it.step(us),
  loop: (it) => it.loopPhase(),
  zoom: (it, factor) => it.timeline.zoom(factor),
  new: (it) => it.newPhase(),
  edge: (it, edge) => it.edgeTo(edge, onGrid(it.timeline.us)),
  nudge: (it, us) => it.nudge(us),
  shift: (it, us) => it.shift(us),
  digit: (it, _, event) => it.digit(Number(event.key)),
  focus: (_, id) => by(id).focus(),
  delete: (it) => it.delete(),
  undo: (it) => it.undo(-1),
  redo: (it) => it.undo(1),
  sample: (it) => it.sample(),
  leave: () => by("timeline").focus(),
  help: () => by("help").showModal(),
};
const BUTTONS = { play: "play", new: "new", delete: "delete", undo: "undo", redo: "redo", sample: "sample", "show-help": "help" };
const ZOOMS = { closer: 1.6, wider: 1 / 1.6, whole: 0 };

function listen(page) {
  document.addEventListener("keydown", (event) => {
    if (by("help").open) return;
    const command = commandOf(event);
    if (command === null) return;
    event.preventDefault();
    COMMANDS[command.name](page, command.argument, event);
  });
  for (const [id, name] of Object.entries(BUTTONS)) by(id).addEventListener("click", () => COMMANDS[name](page));
  for (const [id, factor] of Object.entries(ZOOMS)) by(id).addEventListener("click", () => page.timeline.zoom(factor));
  by("reload").addEventListener("click", () => location.reload());
  window.addEventListener("beforeunload", (event) => !page.isSaved && by("alert").hidden && event.preventDefault());
  window.addEventListener("unhandledrejection", (event) => page.notice(String(event.reason?.message ?? event.reason)));
}

async function start() {
  history.replaceState(null, "", "/"); // the cookie holds the token now
  const facts = await api.load();
  document.title = `${facts.file} · xsheet script`;
  by("about").textContent = facts.source;
  const page = new Page(facts);
  listen(page);
  drawHelp(by("help"));
  page.samples.show(null);
  await page.samples.refresh();
  page.timeline.setSound(await waveform("/media/audio"));
  by("timeline").focus({ preventScroll: true });
  return page;
}

/** For tests that drive the page. */
export const page = start();
