// The review page: shows one clip and its draft, and runs the commands of keys and pointers.
//
// The server holds the state: an operation is sent with the hash of the shown draft, and the returned draft is drawn.
// A reload loses nothing.

import * as api from "/page/api.js";
import { Axis } from "/page/axis.js";
import { classOf } from "/page/classes.js";
import { by, reveal } from "/page/dom.js";
import { freeSpan, moved } from "/page/edges.js";
import { commandOf, drawHelp } from "/page/keys.js";
import { drawPanel } from "/page/panel.js";
import { Player } from "/page/player.js";
import { QueuePane } from "/page/queue_pane.js";
import { Reviewers } from "/page/reviewers.js";
import { drawShownCheck } from "/page/shown_check.js";
import { Stills } from "/page/stills.js";
import { frameAt, FRAME_US, MIN_PHASE_US, seconds } from "/page/time.js";
import { waveform } from "/page/waveform.js";

const NOTICE_MS = 4000;

class Review {
  #clip = null;
  #selected = null;
  #place = null; // of the shown finding; it stays the same from audit to audit
  #sound = null;
  #edge = "end"; // the border changed last; the nudge keys move it
  #asked = 0;
  #held = null; // digit key held while playing
  #sending = Promise.resolve();
  #batch = 0; // operations run in order; after a conflict the later ones are dropped, since they refer to another draft

  constructor(about) {
    this.about = about;
    this.stills = new Stills();
    this.queue = new QueuePane((key) => this.open(key), this.stills);
    this.reviewers = new Reviewers(about.lock_s, (name) => this.#onLock(name));
    this.player = new Player(by("video"), (frame) => this.#showFrame(frame));
    this.axis = new Axis(by("canvas"), by("ruler"), {
      seek: (frame) => this.player.step(frame - this.player.frame),
      select: (id) => this.select(id),
      change: (changes) => this.#operate("edit", () => ({ changes })),
      loop: (phase) => this.player.loop(phase.start_us, phase.end_us),
    });
    this.queue.offer(about.filters);
    drawHelp(by("help"));
  }

  get phase() {
    return this.#clip?.draft.phases.find((one) => one.phase_id === this.#selected) ?? null;
  }

  /** The finding whose evidence is shown. */
  get finding() {
    return this.#clip?.findings.find((one) => one.place === this.#place) ?? null;
  }

  /** Show a clip of the queue. */
  async open(key) {
    const asked = (this.#asked += 1);
    document.body.classList.remove("shows-queue");
    const clip = await api.clip(key);
    if (asked !== this.#asked) return; // another clip was requested meanwhile
    this.lockedBy = null;
    const frames = Math.round(clip.duration_us / FRAME_US);
    this.#clip = clip;
    this.#sound = null;
    const about = clip.findings.find((one) => one.phase_id !== null);
    this.#selected = about?.phase_id ?? clip.draft.phases[0]?.phase_id ?? null;
    this.#place = (about ?? clip.findings[0])?.place ?? null;
    history.replaceState(null, "", `#${encodeURIComponent(key)}`);
    this.queue.mark(key);
    by("video").hidden = clip.media === null;
    by("no-video").hidden = clip.media !== null;
    this.alert(clip.draft.rejected_operations ? `${clip.draft.rejected_operations} stored operations do not fit this annotation and were ignored.` : "");
    this.player.load(clip.media, frames);
    this.#draw({ isNew: true });
    this.#listen(clip);
    await this.reviewers.enter(key);
    this.queue.load();
  }

  #onLock(name) {
    if (name !== null) this.alert(`${name} is reviewing this clip now. You can watch it, and edit it once they open another clip.`);
    else if (this.lockedBy !== null) this.alert("");
    this.lockedBy = name;
  }

  /** Select a phase, or none. */
  select(id) {
    this.#selected = id;
    if (this.finding?.phase_id !== id) this.#place = this.#clip.findings.find((one) => one.phase_id === id)?.place ?? null;
    this.#draw();
  }

  /** Show a short message until the next one. */
  notice(text) {
    by("notice").textContent = text;
    clearTimeout(this.noticeEnds);
    this.noticeEnds = setTimeout(() => (by("notice").textContent = ""), NOTICE_MS);
  }

  /** Show an alert until it is replaced; an empty text removes it. */
  alert(text) {
    by("alert").hidden = text === "";
    by("alert").textContent = text;
  }

  async #listen(clip) {
    if (clip.media === null) return;
    const sound = await waveform(clip.media);
    if (clip.key !== this.#clip.key) return;
    this.#sound = sound;
    this.#drawAxis();
  }

  #showFrame(frame) {
    this.axis.at(frame);
    const total = this.#clip === null ? 0 : Math.round(this.#clip.duration_us / FRAME_US);
    by("timecode").textContent = `${seconds(frame * FRAME_US)} s  ·  frame ${frame} / ${total}`;
    by("play").textContent = this.player.playing ? "❚❚" : "▶";
    by("rate").textContent = this.player.playing && this.player.rate !== 1 ? `${this.player.rate}×` : "";
  }

  #draw({ isNew = false } = {}) {
    const { draft } = this.#clip;
    const calls = {
      select: (id) => this.select(id),
      change: (change) => this.#operate("edit", () => ({ changes: [change] })),
      act: (name) => COMMANDS[name](this),
      reject: (note) => this.onPhase("reject", { note }),
      finding: (one) => this.#toFinding(one),
    };
    const held = document.activeElement?.id;
    drawPanel(this.#clip, this.#selected, this.about.vocabulary, this.about.blind, calls);
    drawShownCheck(this.#clip, this.finding, this.stills, {
      seek: (frame) => this.player.step(frame - this.player.frame),
      dispute: () => this.dispute(),
      reject: () => this.onPhase("reject"),
    });
    if (held) by(held)?.focus({ preventScroll: true }); // the focused field was redrawn
    by("verdict").textContent = { accept: "✓ accepted", reject: "✕ rejected" }[draft.decision] ?? "";
    by("verdict").className = draft.decision ?? "";
    this.#drawAxis({ isNew });
    const current = by("phases").querySelector("[aria-current=true]");
    if (current !== null) reveal(by("phases"), current);
  }

  #drawAxis({ isNew = false } = {}) {
    this.axis.show(this.#clip, { selected: this.#selected, sound: this.#sound, isNew });
  }

  /**
   * Send one operation, after those before it.
   * @param {string} operation
   * @param {() => Object|null} intent made when its turn comes, on the draft as it is then; null sends nothing
   */
  #operate(operation, intent) {
    const batch = this.#batch;
    const { key } = this.#clip;
    this.#sending = this.#sending.then(async () => {
      if (batch !== this.#batch || key !== this.#clip.key) return false;
      const what = intent();
      if (what === null) return false;
      try {
        const before = this.#clip.draft;
        const { stale, draft } = await api.operate(key, { operation, before_sha256: before.sha256, ...what });
        if (key === this.#clip.key) this.#take(before, draft, stale ? operation : null);
        this.queue.load();
        return !stale;
      } catch (error) {
        this.notice(error.message);
        this.#draw();
        return false;
      }
    });
    return this.#sending;
  }

  #take(before, draft, refused) {
    this.#clip.draft = draft;
    if (refused !== null) {
      this.#batch += 1;
      this.alert(`Conflict: this clip has been changed elsewhere. Your “${refused.replace("_", " ")}” was not applied; the page shows the latest state.`);
    } else this.alert("");
    if (this.phase === null) {
      const known = new Set(before.phases.map((one) => one.phase_id));
      const place = before.phases.findIndex((one) => one.phase_id === this.#selected);
      const come = draft.phases.find((one) => !known.has(one.phase_id));
      this.#selected = (come ?? draft.phases[Math.min(Math.max(place, 0), draft.phases.length - 1)])?.phase_id ?? null;
    }
    this.#draw();
  }

  /** Run one operation on the selected phase. */
  onPhase(operation, facts = {}) {
    if (this.phase === null) return this.notice("Select a phase first (Tab).");
    return this.#operate(operation, () => ({ phase_ids: [this.#selected], ...facts }));
  }

  /** The annotation is right, the measurement of the shown check is wrong. */
  dispute() {
    const { finding } = this;
    if (finding === null) return this.notice("Show a check first (G).");
    if (this.#clip.draft.disputed.includes(finding.place)) return this.notice("This verdict is already stored.");
    return this.#operate("dispute", () => ({ finding_id: finding.finding_id }));
  }

  /** Run one operation on the whole clip, then go to the next clip. */
  async onClip(operation) {
    if (await this.#operate(operation, () => ({}))) await this.toClip(1, { onlyOpen: true });
  }

  async toClip(places, how) {
    await this.queue.load();
    const key = this.queue.beside(places, how);
    if (key === null) this.notice("No more clips in this direction.");
    else await this.open(key);
  }

  takeBack(which) {
    return this.#operate("undo", () => {
      const undoes = this.#clip.draft[`${which}_id`];
      if (undoes === null) this.notice(`Nothing to ${which}.`);
      return undoes === null ? null : { undoes };
    });
  }

  choosePhase(places) {
    const { phases } = this.#clip.draft;
    if (!phases.length) return;
    const here = phases.findIndex((one) => one.phase_id === this.#selected);
    const phase = phases[(here + places + phases.length) % phases.length];
    this.player.step(frameAt(phase.start_us) - this.player.frame);
    this.select(phase.phase_id);
  }

  toNextFinding(places) {
    const found = this.#clip.findings.filter((one) => one.start_us !== null).sort((a, b) => a.start_us - b.start_us);
    if (!found.length) return this.notice("No findings in this clip.");
    const here = this.lastFinding?.key === this.#clip.key ? this.lastFinding.place : places > 0 ? -1 : found.length;
    const place = (here + places + found.length) % found.length;
    this.lastFinding = { key: this.#clip.key, place };
    this.#toFinding(found[place]);
  }

  #toFinding(one) {
    if (one.start_us !== null) this.player.step(frameAt(one.start_us) - this.player.frame);
    this.#selected = one.phase_id ?? this.#selected;
    this.#place = one.place;
    this.#draw();
    this.notice(`${one.check}: ${one.message}`);
  }

  /** Set a border to the shown frame; an end includes that frame. */
  setEdge(edge) {
    const us = (this.player.frame + (edge === "end" ? 1 : 0)) * FRAME_US;
    this.#moveEdge(edge, () => us);
  }

  nudge(frames) {
    this.#moveEdge(this.#edge, (us) => us + frames * FRAME_US);
  }

  #moveEdge(edge, to) {
    if (this.phase === null) return this.notice("Select a phase first (Tab).");
    this.#edge = edge;
    return this.#operate("edit", () => {
      const { phase } = this;
      const changes = phase && moved(this.#clip.draft.phases, phase, edge, to(phase[`${edge}_us`]), { end: this.#clip.duration_us });
      if (!changes?.length) this.notice("The border cannot move there.");
      return changes?.length ? { changes } : null;
    });
  }

  newPhase() {
    const track = this.phase?.track ?? "head";
    this.#make(track, classOf(track, 1) ?? "other", freeSpan(this.#clip.draft.phases, track, this.player.frame * FRAME_US, this.#clip.duration_us));
  }

  #make(track, action, span) {
    if (span === null) return this.notice(`The track ${track.replace("_", " ")} already has a phase here.`);
    const laterality = { arm_left: "left", arm_right: "right" }[track] ?? "none";
    this.#selected = null;
    return this.#operate("new", () => ({ changes: [{ track, action, laterality, ...span }] }));
  }

  merge() {
    const { phase } = this;
    const next = phase && this.#clip.draft.phases.find((one) => one.track === phase.track && one.start_us >= phase.end_us);
    if (!next) return this.notice("No later phase of this track to merge with.");
    return this.#operate("merge", () => ({ phase_ids: [phase.phase_id, next.phase_id] }));
  }

  split() {
    return this.onPhase("split", { at_us: this.player.frame * FRAME_US });
  }

  loopPhase() {
    if (this.phase !== null) this.player.loop(this.phase.start_us, this.phase.end_us);
  }

  compare() {
    this.axis.ghosts = (this.axis.ghosts + 1) % 3;
    this.axis.redraw();
    this.notice(["other layers: none", "other layers: thin", "other layers: full height"][this.axis.ghosts]);
  }

  /** A digit sets the class of the selected phase; held while playing, it creates a phase from press to release. */
  digitDown(digit) {
    const track = this.phase?.track ?? "head";
    const action = classOf(track, digit);
    if (action === undefined) return this.notice(`Key ${digit} has no class for ${track.replace("_", " ")}.`);
    if (this.player.playing) this.#held ??= { digit, track, action, from: this.player.frame * FRAME_US };
    else if (this.phase !== null) this.#operate("edit", () => ({ changes: [{ phase_id: this.#selected, action }] }));
  }

  digitUp(digit) {
    if (this.#held?.digit !== digit) return;
    const { track, action, from } = this.#held;
    this.#held = null;
    const to = Math.min(this.#clip.duration_us, (this.player.frame + 1) * FRAME_US);
    if (to - from >= MIN_PHASE_US) this.#make(track, action, { start_us: from, end_us: to });
  }
}

const COMMANDS = {
  play: (it) => it.player.toggle(),
  backwards: (it) => it.player.backwards(),
  stop: (it) => it.player.pause(),
  faster: (it) => it.player.faster(),
  step: (it, frames) => it.player.step(frames),
  loop: (it) => it.loopPhase(),
  zoom: (it, factor) => it.axis.zoom(factor),
  compare: (it) => it.compare(),
  choose: (it, places) => it.choosePhase(places),
  finding: (it, places) => it.toNextFinding(places),
  clip: (it, places) => it.toClip(places),
  unsure: (it) => it.toClip(1, { onlyOpen: true }),
  filter: () => by("filter-text").focus(),
  focus: (_, id) => by(id)?.focus(),
  leave: () => by("axis").focus({ preventScroll: true }),
  acceptClip: (it) => it.onClip("accept"),
  rejectClip: (it) => it.onClip("reject"),
  accept: (it) => it.onPhase("accept"),
  dispute: (it) => it.dispute(),
  reject: (it) => it.onPhase("reject"),
  delete: (it) => it.onPhase("delete"),
  flip: (it) => it.onPhase("flip_side"),
  split: (it) => it.split(),
  merge: (it) => it.merge(),
  new: (it) => it.newPhase(),
  undo: (it) => it.takeBack("undo"),
  redo: (it) => it.takeBack("redo"),
  edge: (it, edge) => it.setEdge(edge),
  nudge: (it, frames) => it.nudge(frames),
  digit: (it, _, event) => event.repeat || it.digitDown(Number(event.key)),
  help: () => by("help").showModal(),
};

function listenToKeys(review) {
  document.addEventListener("keydown", (event) => {
    const command = commandOf(event);
    if (command === null) {
      if (event.key === "Enter" && event.target.id === "text" && !event.shiftKey) COMMANDS.leave();
      return;
    }
    if (command.name === "leave" && by("help").open) return; // the browser closes the dialog
    event.preventDefault();
    if (review.queue.key !== null || ["filter", "help"].includes(command.name)) COMMANDS[command.name](review, command.argument, event);
  });
  document.addEventListener("keyup", (event) => /^[1-9]$/.test(event.key) && review.digitUp(Number(event.key)));
  // A clicked button would keep the focus and handle the next Space.
  document.addEventListener("click", (event) => event.detail > 0 && event.target.closest("button")?.blur());
  by("show-queue").addEventListener("click", () => by("show-queue").setAttribute("aria-expanded", document.body.classList.toggle("shows-queue")));
  for (const [id, frames] of [["back", -1], ["ahead", 1]]) by(id).addEventListener("click", () => COMMANDS.step(review, frames));
  window.addEventListener("hashchange", () => {
    const key = decodeURIComponent(location.hash.slice(1));
    if (key && key !== review.queue.key) review.open(key);
  });
  for (const [id, name] of Object.entries({ play: "play", "accept-clip": "acceptClip", "reject-clip": "rejectClip", "show-help": "help" })) {
    by(id).addEventListener("click", () => COMMANDS[name](review));
  }
}

async function start() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", `/${location.hash}`); // the cookie holds the token now
  const about = await api.about();
  document.title = `${about.set} · xsheet review`;
  by("about").textContent = `${about.set}  ·  ${about.layer}  ·  ${about.reviewer}`;
  by("blind").hidden = !about.blind.length;
  by("blind").textContent = `blind: ${about.blind.join(", ")}`;
  const review = new Review(about);
  window.addEventListener("unhandledrejection", (event) => review.notice(String(event.reason?.message ?? event.reason)));
  listenToKeys(review);
  await review.queue.load();
  const first = wanted || review.queue.beside(1, { onlyOpen: true }) || review.queue.beside(1);
  if (first) await review.open(first).catch(() => review.toClip(1));
  by("axis").focus({ preventScroll: true });
  return review;
}

/** For tests that drive the page. */
export const review = start();
