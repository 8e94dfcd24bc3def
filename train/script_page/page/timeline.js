// The timeline: a row per track, bars for phases. Pointers create, move and resize; the page changes the script.

import { by, el, fill } from "/page/dom.js";
import { moved } from "/page/edges.js";
import { colourOf } from "/page/palette.js";
import { drawn, GRID_US, onGrid, shifted } from "/page/place.js";
import { clamp } from "/page/time.js";

const CLICK_PX = 4;
const MAX_PX_PER_S = 1000; // 10 ms are 10 px
const RIGHT_PX = 28; // for the last label of the ruler
const MAX_CANVAS_PX = 8192;
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];

export class Timeline {
  #calls;
  #end;
  #drag = null;
  #state = null;
  #selected = null;
  #sound = null;
  #zoom = 1;

  /** @param {{seek, select, create, change, drop, drag}} calls what pointers ask the page to do; `drag` shows a span */
  constructor({ tracks, duration_us, calls }) {
    this.#calls = calls;
    this.#end = duration_us;
    this.us = 0;
    fill(by("lanes"), ...tracks.map((track) =>
      el("div", { className: "lane", data: { track } }, el("span", { className: "label", textContent: track.replaceAll("_", " ") }))));
    const rows = by("rows");
    rows.addEventListener("pointerdown", (event) => this.#down(event));
    rows.addEventListener("pointermove", (event) => this.#move(event));
    rows.addEventListener("pointerup", () => this.#up());
    rows.addEventListener("pointercancel", () => this.#cancel());
    new ResizeObserver(() => this.redraw()).observe(by("timeline"));
  }

  show(state, selected) {
    this.#state = state;
    this.#selected = selected;
    this.#drawBars();
  }

  setSound(sound) {
    this.#sound = sound;
    this.redraw();
  }

  get dragging() {
    return this.#drag !== null;
  }

  /** Zoom by a factor around the cursor; 0 shows the whole audio. */
  zoom(factor) {
    const frame = by("timeline");
    const limit = Math.max(1, (MAX_PX_PER_S * this.#end) / 1e6 / Math.max(1, frame.clientWidth - this.#gutter));
    this.#zoom = factor === 0 ? 1 : clamp(this.#zoom * factor, 1, limit);
    this.redraw();
    frame.scrollLeft = this.#x(this.us) - frame.clientWidth / 2;
  }

  /** Move the cursor; the view follows it. */
  at(us) {
    this.us = us;
    const x = this.#x(us);
    by("cursor").style.left = `${x}px`;
    const frame = by("timeline");
    if (this.#drag === null && (x > frame.scrollLeft + frame.clientWidth || x < frame.scrollLeft + this.#gutter)) frame.scrollLeft = x - frame.clientWidth / 3;
  }

  redraw() {
    by("rows").style.width = `${this.#gutter + this.#width}px`;
    this.#drawRuler();
    this.#drawSound();
    if (this.#state !== null) this.#drawBars();
    this.at(this.us);
  }

  /** Page coordinates of a time on a track, for tests that drive the page. */
  pointOf(us, track) {
    const lane = by("lanes").querySelector(`[data-track="${CSS.escape(track)}"]`).getBoundingClientRect();
    return { x: lane.left + this.#x(us), y: lane.top + lane.height / 2 };
  }

  get #gutter() {
    return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--gutter"));
  }

  get #width() {
    return Math.max(50, by("timeline").clientWidth - this.#gutter - RIGHT_PX) * this.#zoom;
  }

  #x(us) {
    return this.#gutter + (us / this.#end) * this.#width;
  }

  #us(event) {
    const left = by("rows").getBoundingClientRect().left;
    return clamp(((event.clientX - left - this.#gutter) / this.#width) * this.#end, 0, this.#end);
  }

  #drawRuler() {
    const px_per_s = (this.#width / this.#end) * 1e6;
    const step = STEPS_S.find((one) => one * px_per_s > 54) ?? STEPS_S.at(-1);
    const ticks = [];
    for (let k = 0; k * step * 1e6 <= this.#end; k += 1) {
      const tick = el("div", { className: "tick" }, el("span", { textContent: `${(k * step).toFixed(step < 1 ? 1 : 0)} s` }));
      tick.style.left = `${this.#x(k * step * 1e6)}px`;
      ticks.push(tick);
    }
    fill(by("ruler"), ...ticks);
  }

  #drawSound() {
    const canvas = by("wave");
    const dots = window.devicePixelRatio || 1;
    canvas.style.width = `${this.#width}px`;
    canvas.width = Math.min(MAX_CANVAS_PX, this.#width * dots);
    canvas.height = 56 * dots;
    if (this.#sound === null) return;
    const pen = canvas.getContext("2d");
    const { levels, bin_us } = this.#sound;
    const loudest = levels.reduce((most, one) => Math.max(most, one), 0.02);
    const middle = canvas.height / 2;
    pen.fillStyle = "#67aee8";
    for (let x = 0; x < canvas.width; x += 1) {
      const [from, to] = [x, x + 1].map((px) => Math.floor(((px / canvas.width) * this.#end) / bin_us));
      let level = 0;
      for (let i = from; i <= Math.min(Math.max(from, to - 1), levels.length - 1); i += 1) level = Math.max(level, levels[i]);
      const height = Math.max(0.5, (level / loudest) * (middle - 3));
      pen.fillRect(x, middle - height, 1, 2 * height);
    }
  }

  #drawBars() {
    const focused = document.activeElement?.dataset?.phase;
    for (const lane of by("lanes").children) {
      const mine = this.#state.phases.filter((one) => one.track === lane.dataset.track).sort((a, b) => a.start_us - b.start_us);
      lane.classList.toggle("used", mine.length > 0);
      fill(lane, lane.firstElementChild, ...mine.map((one) => this.#bar(one)));
    }
    if (focused) this.#barOf(focused)?.focus({ preventScroll: true });
  }

  #barOf(id) {
    return by("lanes").querySelector(`[data-phase="${CSS.escape(id)}"]`);
  }

  #bar(phase) {
    const times = `${(phase.start_us / 1e6).toFixed(2)} to ${(phase.end_us / 1e6).toFixed(2)} s`;
    const bar = el(
      "button",
      {
        className: phase.phase_id === "ghost" ? "bar ghost" : "bar", title: `${phase.text}, ${times}`, data: { phase: phase.phase_id },
        aria: { label: `${phase.track.replaceAll("_", " ")}: ${phase.text}, ${times}`, current: phase.phase_id === this.#selected },
        on: { focus: () => this.#selected !== phase.phase_id && this.#drag === null && this.#calls.select(phase.phase_id) },
      },
      el("i", { className: "edge start" }), phase.text, el("i", { className: "edge end" }),
    );
    bar.style.left = `${this.#x(phase.start_us)}px`;
    bar.style.width = `${Math.max(4, this.#x(phase.end_us) - this.#x(phase.start_us))}px`;
    bar.style.setProperty("--part", colourOf(phase.track));
    return bar;
  }

  #down(event) {
    if (event.button !== 0 || this.#drag !== null) return;
    const us = this.#us(event);
    const bar = event.target.closest(".bar");
    const lane = event.target.closest(".lane");
    const seeks = bar === null && lane === null;
    if (event.clientX - by("timeline").getBoundingClientRect().left < this.#gutter) return;
    if (bar !== null) this.#calls.select(bar.dataset.phase);
    const phase = bar === null ? null : this.#state.phases.find((one) => one.phase_id === bar.dataset.phase);
    const edge = event.target.classList.contains("start") ? "start" : event.target.classList.contains("end") ? "end" : null;
    const kind = seeks ? "seek" : phase === null ? "create" : edge === null ? "move" : "resize";
    this.#drag = { kind, phase, edge, track: lane?.dataset.track, us, x: event.clientX, isMoved: false, before: this.#state, result: null };
    if (event.target.closest("#ruler") === null || event.pointerType !== "touch") by("rows").setPointerCapture(event.pointerId);
    if (seeks) this.#calls.seek(us);
    event.preventDefault(); // no selection of text; the page moves the focus
    if (bar === null) by("timeline").focus({ preventScroll: true });
    else this.#barOf(bar.dataset.phase)?.focus({ preventScroll: true }); // the bar was drawn again
  }

  #move(event) {
    const drag = this.#drag;
    if (drag === null) return;
    drag.isMoved ||= Math.abs(event.clientX - drag.x) >= CLICK_PX || (drag.kind === "move" && this.#laneAt(event) !== drag.track);
    if (!drag.isMoved) return;
    const us = this.#us(event);
    const { phases } = drag.before;
    if (drag.kind === "seek") this.#calls.seek(us);
    else if (drag.kind === "create") {
      drag.result = drawn(phases, drag.track, drag.us, us, this.#lastUs);
      if (drag.result) this.#preview([...phases, { ...drag.result, phase_id: "ghost", track: drag.track, text: "" }], drag.result);
    } else if (drag.kind === "resize") {
      const changes = moved(phases, drag.phase, drag.edge, onGrid(us), { end: this.#lastUs, alone: event.shiftKey });
      drag.result = changes;
      this.#previewChanges(changes, drag.phase);
    } else {
      const track = this.#laneAt(event) ?? drag.track;
      const start = shifted(phases, drag.phase, track, drag.phase.start_us + onGrid(us - drag.us), this.#lastUs);
      if (start === null) return;
      drag.result = [{ phase_id: drag.phase.phase_id, track, start_us: start, end_us: start + drag.phase.end_us - drag.phase.start_us }];
      this.#previewChanges(drag.result, drag.phase);
    }
  }

  /** The last time of the grid inside the audio. */
  get #lastUs() {
    return Math.floor(this.#end / GRID_US) * GRID_US;
  }

  #laneAt(event) {
    const at = [...by("lanes").children].find((lane) => {
      const box = lane.getBoundingClientRect();
      return box.top <= event.clientY && event.clientY < box.bottom;
    });
    return at?.dataset.track;
  }

  #previewChanges(changes, phase) {
    const byId = new Map(changes.map((one) => [one.phase_id, one]));
    const phases = this.#drag.before.phases.map((one) => ({ ...one, ...byId.get(one.phase_id) }));
    this.#preview(phases, phases.find((one) => one.phase_id === phase.phase_id));
  }

  #preview(phases, span) {
    this.#state = { ...this.#drag.before, phases };
    this.#drawBars();
    this.#calls.drag(span);
  }

  #up() {
    const drag = this.#drag;
    this.#drag = null;
    if (drag === null) return;
    this.#state = drag.before;
    if (drag.kind === "create" && !drag.isMoved) this.#calls.drop(drag.us);
    else if (drag.kind === "create" && drag.result) this.#calls.create(drag.track, drag.result);
    else if (Array.isArray(drag.result) && drag.result.length) this.#calls.change(drag.result, drag.edge);
    else this.#drawBars();
    this.#calls.drag(null);
  }

  /** The browser took the pointer over, to scroll. */
  #cancel() {
    const drag = this.#drag;
    this.#drag = null;
    if (drag === null) return;
    this.#state = drag.before;
    this.#drawBars();
    this.#calls.drag(null);
  }
}
