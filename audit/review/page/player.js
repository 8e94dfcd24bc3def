// The video as the clock: the browser reports every frame that it shows.

import { centreOf, clamp, frameAt, FRAME_US } from "/page/time.js";

const PREROLL_FRAMES = 5; // 0.2 s before a phase, to see its start
const RATES = [1, 1.5, 2];

export class Player {
  #video;
  #onframe;
  #frames = 0;
  #wanted = null; // frame to seek to after the current seek
  #until = null; // {from, stop} in frames: loop
  #backwards = null;

  /** @param {(frame: number) => void} onframe called for every frame that is shown */
  constructor(video, onframe) {
    this.#video = video;
    this.#onframe = onframe;
    this.frame = 0;
    video.addEventListener("seeked", () => this.#seekNext());
    if ("requestVideoFrameCallback" in video) {
      const shown = (_, facts) => {
        this.#show(Math.round((facts.mediaTime * 1e6) / FRAME_US));
        video.requestVideoFrameCallback(shown);
      };
      video.requestVideoFrameCallback(shown);
    } else {
      video.addEventListener("timeupdate", () => this.#show(frameAt(video.currentTime * 1e6)));
    }
    video.addEventListener("ended", () => this.#until && this.#loop());
  }

  /** Load a clip with a number of frames and show the first; null shows nothing. */
  load(address, frames) {
    this.pause();
    this.#frames = frames;
    this.#wanted = null;
    this.frame = 0;
    if (address === null) this.#video.removeAttribute("src");
    else this.#video.src = address;
    this.#video.load();
    this.seek(0);
  }

  get playing() {
    return !this.#video.paused || this.#backwards !== null;
  }

  get rate() {
    return this.#backwards !== null ? -1 : this.#video.playbackRate;
  }

  /** Show a frame; during a seek only the latest request is kept. */
  seek(frame) {
    const target = clamp(frame, 0, Math.max(0, this.#frames - 1));
    this.frame = target; // further steps start from here, before the picture follows
    this.#onframe(target);
    this.#wanted = target;
    if (!this.#video.seeking) this.#seekNext();
  }

  step(frames) {
    this.pause();
    this.seek(this.frame + frames);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play(rate = 1) {
    this.#stopBackwards();
    this.#until = null;
    this.#start(rate);
  }

  /** L: forwards, faster with each press. */
  faster() {
    const next = this.playing && this.rate > 0 ? RATES[RATES.indexOf(this.rate) + 1] ?? RATES.at(-1) : 1;
    this.play(next);
  }

  /** J: backwards, frame by frame, since browsers cannot play backwards. */
  backwards() {
    this.pause();
    this.#backwards = setInterval(() => (this.frame > 0 ? this.seek(this.frame - 1) : this.pause()), FRAME_US / 1000);
  }

  /** Loop a phase, with a short lead-in. */
  loop(start_us, end_us) {
    const from = Math.max(0, Math.round(start_us / FRAME_US) - PREROLL_FRAMES);
    const stop = Math.min(this.#frames, Math.round(end_us / FRAME_US));
    this.#stopBackwards();
    this.#until = { from, stop };
    this.seek(from);
    this.#start(1);
  }

  pause() {
    this.#stopBackwards();
    this.#until = null;
    if (this.#video.paused) return;
    this.#video.pause();
    this.seek(this.frame); // the picture may be one frame ahead of the reported one
  }

  #start(rate) {
    this.#video.playbackRate = rate;
    if (this.frame >= this.#frames - 1 && this.#until === null) this.seek(0);
    this.#video.play().catch(() => {}); // browsers refuse before the first key or click, and the next clip interrupts it
  }

  #stopBackwards() {
    clearInterval(this.#backwards);
    this.#backwards = null;
  }

  #seekNext() {
    if (this.#wanted === null) return;
    const frame = this.#wanted;
    this.#wanted = null;
    this.#video.currentTime = centreOf(frame);
  }

  #show(frame) {
    if (this.#video.paused && this.#video.seeking) return;
    if (!this.#video.paused) this.frame = frame;
    this.#onframe(this.frame);
    if (this.#until !== null && frame >= this.#until.stop) this.#loop();
  }

  #loop() {
    this.seek(this.#until.from);
    this.#video.play().catch(() => {});
  }
}
