// Other reviewers on the same queue: the lock of the shown clip, and the agreement with them.

import * as api from "/page/api.js";
import { by, el, fill } from "/page/dom.js";

export class Reviewers {
  #key = null;
  #renewal = null;
  #onlock;

  /** @param {number} lock_s seconds a lock lasts @param {(name: string|null) => void} onlock called with who else has the clip */
  constructor(lock_s, onlock) {
    this.#onlock = onlock;
    this.#renewal = setInterval(() => this.#key !== null && this.#claim(null).catch(() => {}), (lock_s * 1000) / 3);
    by("show-agreement").addEventListener("click", () => this.show());
  }

  /** Lock a clip and give the one before it back. */
  async enter(key) {
    const leave = this.#key;
    this.#key = key;
    await this.#claim(leave);
  }

  async #claim(leave) {
    const key = this.#key;
    const { locked_by } = await api.claim(key, leave);
    if (key === this.#key) this.#onlock(locked_by);
  }

  /** Show the agreement with the other reviewers. */
  async show() {
    const pairs = await api.agreement();
    fill(
      by("agreement"),
      el("h2", { textContent: "Agreement" }),
      pairs.length ? table(pairs) : el("p", { textContent: "No other reviewer has worked on a clip that you decided. The option --overlap-share sets the share of clips that every reviewer gets." }),
      ...pairs.filter((pair) => pair.different.length).map((pair) => different(pair)),
      el("p", { textContent: "Decisions: clips that both accepted or both rejected; κ corrects for chance. Phases: F1 of the clips that both accepted, by part, class and a tIoU of 0.5." }),
      el("button", { textContent: "Close", on: { click: () => by("agreement").close() } }),
    );
    by("agreement").showModal();
  }
}

function table(pairs) {
  const number = (value, digits) => (value === null ? "–" : value.toFixed(digits));
  const heads = ["with", "clips", "same decision", "κ", "phases F1", "boundaries"];
  const rows = pairs.map((pair) => [
    pair.reviewers[1], pair.clips, `${pair.same_decision} of ${pair.clips}`, number(pair.kappa, 2), number(pair.phase_f1, 2),
    pair.boundary_ms === null ? "–" : `${pair.boundary_ms.toFixed(0)} ms`,
  ]);
  const line = (tag, cells) => el("tr", {}, ...cells.map((cell) => el(tag, { textContent: cell })));
  return el("div", { className: "wide" }, el("table", {}, el("thead", {}, line("th", heads)), el("tbody", {}, ...rows.map((row) => line("td", row)))));
}

function different(pair) {
  const link = (key) => el("a", { href: `#${encodeURIComponent(key)}`, textContent: key, on: { click: () => by("agreement").close() } });
  return el("p", {}, `Different from ${pair.reviewers[1]}: `, ...pair.different.slice(0, 20).flatMap((key) => [link(key), " "]));
}
