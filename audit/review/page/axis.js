// The time axis: one canvas for all rows, so that everything at one time is on one vertical line.

import { drawAxis } from "/page/draw.js";
import { landmarksOf, moved, snapped } from "/page/edges.js";
import { GUTTER, hit, layoutOf, RULER } from "/page/layout.js";
import { PLAYHEAD } from "/page/palette.js";
import { clamp, frameAt, FRAME_US } from "/page/time.js";

const SNAP_PX = 7;
const CLOSEST_US = 10 * FRAME_US;

export class Axis {
  #canvas;
  #ruler;
  #still = document.createElement("canvas"); // everything except the playhead, redrawn only after changes
  #calls;
  #drag = null;
  #state = { clip: null, phases: [], selected: null, sound: null, guide: null };
  #view = { from: 0, to: 1 };
  #layout = null;

  /**
   * @param {HTMLCanvasElement} canvas all rows
   * @param {HTMLCanvasElement} ruler lies over the first row and stays in view while the rows scroll
   * @param {{seek: Function, select: Function, change: Function, loop: Function}} calls callbacks of pointer actions
   */
  constructor(canvas, ruler, calls) {
    this.#canvas = canvas;
    this.#ruler = ruler;
    this.#calls = calls;
    this.frame = 0;
    this.ghosts = 1;
    for (const [event, handler] of Object.entries({
      pointerdown: (e) => this.#down(e),
      pointermove: (e) => this.#move(e),
      pointerup: (e) => this.#up(e),
      pointercancel: () => this.#end(),
      dblclick: (e) => this.#twice(e),
    })) canvas.addEventListener(event, handler);
    for (const event of ["pointerdown", "pointermove"]) ruler.addEventListener(event, (e) => this.#onRuler(e));
    new ResizeObserver(() => this.redraw()).observe(canvas.parentElement);
  }

  /** Show another clip or another draft of it. */
  show(clip, { selected, sound, isNew = false }) {
    this.#state = { clip, phases: clip.draft.phases, selected, sound, guide: null };
    this.#drag = null;
    if (isNew) this.#view = { from: 0, to: clip.duration_us };
    this.redraw();
    this.#bringIntoView(this.#state.phases.find((phase) => phase.phase_id === selected)?.track);
  }

  /** Zoom by a factor around the playhead; 0 shows the whole clip. */
  zoom(factor) {
    const { clip } = this.#state;
    if (clip === null) return;
    const whole = clip.duration_us;
    const length = factor === 0 ? whole : clamp((this.#view.to - this.#view.from) / factor, CLOSEST_US, whole);
    const from = clamp(this.frame * FRAME_US - length / 2, 0, whole - length);
    this.#view = { from, to: from + length };
    this.redraw();
  }

  /** Move the playhead; the view follows it. */
  at(frame) {
    this.frame = frame;
    const { from, to } = this.#view;
    const us = frame * FRAME_US;
    if (this.#state.clip !== null && to - from < this.#state.clip.duration_us && (us < from || us >= to)) {
      const start = clamp(us - (to - from) * 0.1, 0, this.#state.clip.duration_us - (to - from));
      this.#view = { from: start, to: start + to - from };
      this.redraw();
    } else this.#paint();
  }

  redraw() {
    const width = this.#canvas.parentElement.clientWidth;
    if (this.#state.clip === null || width < 2 * GUTTER) return;
    this.#layout = layoutOf(this.#state.clip, { width, view: this.#view, ghosts: this.ghosts });
    const dots = window.devicePixelRatio || 1;
    for (const canvas of [this.#canvas, this.#still]) {
      canvas.width = Math.round(width * dots);
      canvas.height = Math.round(this.#layout.height * dots);
    }
    this.#canvas.style.height = `${this.#layout.height}px`;
    this.#ruler.width = Math.round(width * dots);
    this.#ruler.height = Math.round(RULER * dots);
    const pen = this.#still.getContext("2d");
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    drawAxis(pen, this.#layout, this.#state);
    this.#paint();
  }

  /** Page coordinates of a time on a track, for scripted pointers. */
  place(us, track) {
    const box = this.#canvas.getBoundingClientRect();
    const row = this.#layout.rows.find((one) => one.track === track);
    return { x: box.left + this.#layout.x(us), y: box.top + row.y + row.bar / 2 };
  }

  #bringIntoView(track) {
    const row = this.#layout?.rows.find((one) => track !== undefined && one.track === track);
    if (row === undefined) return;
    const frame = this.#canvas.parentElement;
    frame.scrollTop = clamp(frame.scrollTop, row.y + row.height - frame.clientHeight, row.y - RULER);
  }

  #paint() {
    if (this.#layout === null) return;
    for (const canvas of [this.#canvas, this.#ruler]) this.#paintOn(canvas);
  }

  #paintOn(canvas) {
    const pen = canvas.getContext("2d");
    const dots = window.devicePixelRatio || 1;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(this.#still, 0, 0); // the ruler is the first row, the rest falls outside of its canvas
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    const [x0, x1] = [this.frame, this.frame + 1].map((frame) => this.#layout.x(frame * FRAME_US));
    if (x1 < GUTTER) return;
    pen.fillStyle = "rgba(255, 255, 255, .14)"; // a frame has a duration, so it is a stripe, not a line
    pen.fillRect(x0, 0, x1 - x0, this.#layout.height);
    pen.fillStyle = PLAYHEAD;
    pen.fillRect(x0, 0, 1.5, this.#layout.height);
  }

  #onRuler(event) {
    if (this.#layout === null || !(event.buttons & 1)) return;
    this.#ruler.setPointerCapture(event.pointerId);
    this.#calls.seek(frameAt(this.#layout.us(event.clientX - this.#ruler.getBoundingClientRect().left)));
  }

  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #down(event) {
    if (this.#layout === null || event.button !== 0) return;
    const { x, y } = this.#point(event);
    const under = hit(this.#layout, this.#state.phases, x, y);
    this.#canvas.setPointerCapture(event.pointerId);
    if (under !== null) this.#calls.select(under.phase.phase_id);
    if (under?.edge) this.#drag = { ...under, changes: [] };
    else {
      this.#drag = { edge: null };
      this.#calls.seek(frameAt(this.#layout.us(x)));
    }
  }

  #move(event) {
    if (this.#layout === null) return;
    const { x, y } = this.#point(event);
    if (this.#drag === null) {
      this.#canvas.style.cursor = hit(this.#layout, this.#state.phases, x, y)?.edge ? "ew-resize" : "default";
    } else if (this.#drag.edge === null) this.#calls.seek(frameAt(this.#layout.us(x)));
    else this.#dragTo(this.#layout.us(x), event);
  }

  #dragTo(us, event) {
    const { clip } = this.#state;
    const { phase, edge } = this.#drag;
    const to = snapped(us, landmarksOf(clip, phase), { reach: SNAP_PX * this.#layout.us_per_px, free: event.altKey });
    const changes = moved(clip.draft.phases, phase, edge, to.us, { end: clip.duration_us, alone: event.shiftKey });
    this.#drag.changes = changes;
    const by = new Map(changes.map((change) => [change.phase_id, change]));
    this.#state.phases = clip.draft.phases.map((one) => ({ ...one, ...by.get(one.phase_id) }));
    const reached = changes[0]?.[`${edge}_us`] ?? phase[`${edge}_us`];
    this.#state.guide = { us: reached, why: reached === to.us ? to.why : "neighbour" };
    this.redraw();
    this.#calls.seek(clamp(frameAt(reached - (edge === "end" ? 1 : 0)), 0, frameAt(clip.duration_us)));
  }

  #up() {
    const changes = this.#drag?.changes ?? [];
    this.#drag = null;
    this.#state.guide = null;
    if (changes.length) this.#calls.change(changes);
    else this.redraw();
  }

  #end() {
    this.#drag = null;
    this.#state.phases = this.#state.clip?.draft.phases ?? [];
    this.#state.guide = null;
    this.redraw();
  }

  #twice(event) {
    const { x, y } = this.#point(event);
    const under = this.#layout && hit(this.#layout, this.#state.phases, x, y);
    if (under) this.#calls.loop(under.phase);
  }
}
