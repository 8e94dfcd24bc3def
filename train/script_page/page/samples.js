// The samples of the script: start one, follow it, choose the video that is shown.

import * as api from "/page/api.js";
import { by, el, fill } from "/page/dom.js";

const POLL_MS = 500;
const isActive = (one) => one.state === "loading" || one.state === "sampling";

export class Samples {
  #list = [];
  #shown = null; // number of a sample; null is the portrait with the audio
  #onshow;
  #timer = null;

  /** @param {(address: string, poster: string) => void} onshow called with the media to show */
  constructor(onshow) {
    this.#onshow = onshow;
    by("stop").addEventListener("click", () => api.stop().then(() => this.refresh()));
  }

  /** Ask for the state of all samples, and again while one is in progress. */
  async refresh() {
    clearTimeout(this.#timer);
    const before = this.#list.findLast(isActive);
    this.#list = await api.samples();
    const finished = this.#list.find((one) => one.number === before?.number && one.state === "done");
    if (finished) this.show(finished.number);
    else this.#draw();
    if (this.#list.some(isActive)) this.#timer = setTimeout(() => this.refresh(), POLL_MS);
  }

  async start() {
    await api.start();
    await this.refresh();
  }

  show(number) {
    this.#shown = number;
    this.#draw();
    this.#onshow(number === null ? "/media/audio" : `/media/samples/${number}`);
  }

  #draw() {
    const last = this.#list.at(-1);
    const active = last !== undefined && isActive(last);
    by("sample").disabled = active;
    by("stop").hidden = !active;
    by("share").hidden = !active;
    if (last?.state === "sampling") by("share").value = last.share;
    else by("share").removeAttribute("value");
    by("state").textContent = last === undefined ? "" : sentence(last);
    by("state").className = last?.state === "failed" ? "bad" : "";
    const shown = this.#list.find((one) => one.number === this.#shown) ?? last;
    fill(by("notes"), ...(shown?.notes ?? []).map((text) => el("li", { textContent: text })));
    const done = this.#list.filter((one) => one.state === "done").reverse();
    fill(by("samples"), ...[{ number: null }, ...done].map(({ number }) =>
      el("li", {}, el("button", {
        textContent: number === null ? "Portrait" : `Sample ${number}`,
        aria: { pressed: number === this.#shown },
        on: { click: () => this.show(number) },
      }))));
  }
}

function sentence({ number, state, share, left_s, message }) {
  const left = left_s === null ? "" : `, ${Math.ceil(left_s)} s left`;
  return {
    loading: "Loading the model …",
    sampling: `Sampling ${Math.round(share * 100)} %${left}`,
    done: "",
    failed: `Sample ${number} failed: ${message}`,
    stopped: `Sample ${number} was stopped.`,
  }[state];
}
