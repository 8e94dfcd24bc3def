// Stills: single frames of clips, decoded by the browser and kept for the next drawing.

import { el } from "/page/dom.js";
import { centreOf } from "/page/time.js";

const KEPT = 400;
const HEIGHT_PX = 360; // of a kept picture
const PATIENCE_MS = 10_000;

export class Stills {
  #video = el("video", { muted: true, preload: "auto", playsInline: true });
  #media = null; // what the video has loaded
  #kept = new Map(); // "media frame": picture
  #jobs = [];
  #isBusy = false;

  /**
   * Draw a frame into a canvas, now or when it is decoded; a canvas that has left the page meanwhile is skipped.
   * @param {HTMLCanvasElement} canvas
   * @param {string} media address of the clip
   * @param {number} frame
   * @param {{crop?: {x: number, y: number, size: number}, marks?: Function, isUrgent?: boolean}} how crop: a square in
   *   picture heights, else the middle of the picture; marks(pen, place) draws on top, place(x, y) maps picture heights
   */
  paint(canvas, media, frame, { crop = null, marks = null, isUrgent = false } = {}) {
    const draw = (picture) => put(canvas, picture, crop, marks);
    const key = `${media} ${frame}`;
    if (this.#kept.has(key)) return draw(this.#kept.get(key));
    const place = isUrgent ? this.#jobs.findLastIndex((job) => job.isUrgent) + 1 : this.#jobs.length;
    this.#jobs.splice(place, 0, { canvas, media, frame, key, draw, isUrgent });
    this.#work();
  }

  async #work() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    while (this.#jobs.length) {
      const job = this.#jobs.shift();
      if (!job.canvas.isConnected) continue;
      job.draw(this.#kept.get(job.key) ?? (await this.#decode(job).catch(() => this.#fail())));
    }
    this.#isBusy = false;
  }

  async #decode({ media, frame, key }) {
    const video = this.#video;
    if (this.#media !== media) {
      this.#media = media;
      video.src = media;
      await once(video, "loadeddata");
    }
    video.currentTime = centreOf(frame);
    await once(video, "seeked");
    const resizeHeight = Math.min(video.videoHeight, HEIGHT_PX);
    const resizeWidth = Math.max(1, Math.round((resizeHeight * video.videoWidth) / video.videoHeight));
    const picture = await createImageBitmap(video, { resizeHeight, resizeWidth, resizeQuality: "medium" });
    this.#keep(key, picture);
    return picture;
  }

  /** No picture this time; the next job loads its clip anew. */
  #fail() {
    this.#media = null;
    return null;
  }

  #keep(key, picture) {
    this.#kept.set(key, picture);
    if (this.#kept.size > KEPT) this.#kept.delete(this.#kept.keys().next().value);
  }
}

/** Wait for an event of a video; rejects when the video cannot be decoded or takes too long. */
function once(video, name) {
  return new Promise((done, fail) => {
    const stop = new AbortController();
    const end = (settle) => () => (stop.abort(), settle());
    video.addEventListener(name, end(done), { signal: stop.signal });
    video.addEventListener("error", end(() => fail(new Error("no picture"))), { signal: stop.signal });
    setTimeout(end(() => fail(new Error("too slow"))), PATIENCE_MS);
  });
}

function put(canvas, picture, crop, marks) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  canvas.dataset.drawn = picture === null ? "none" : "yes";
  if (picture === null) return;
  const high = picture.height; // a picture height in pixels of the picture
  const ratio = canvas.width / canvas.height;
  const size = crop === null ? Math.min(high, picture.width / ratio) : crop.size * high;
  const [x, y] = crop === null ? [(picture.width - size * ratio) / 2, (high - size) / 2] : [crop.x * high, crop.y * high];
  const scale = canvas.height / size;
  pen.drawImage(picture, x, y, size * ratio, size, 0, 0, canvas.width, canvas.height);
  marks?.(pen, (px, py) => [(px * high - x) * scale, (py * high - y) * scale]);
}
