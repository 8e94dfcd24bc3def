// The queue: lowest scores first, filtered, loaded in batches.

import * as api from "/page/api.js";
import { by, el, fill, reveal } from "/page/dom.js";
import { SEVERITIES } from "/page/palette.js";
import { FRAME_US } from "/page/time.js";

const STATES = { open: "○", edited: "◐", accepted: "✓", rejected: "✕", by_other: "⇄", locked: "⊘" };
const FILTERS = ["state", "check", "track", "action"];

export class QueuePane {
  #open;
  #entries = [];
  #total = 0;
  #request = 0;
  #stills;
  #seen = new IntersectionObserver((rows) => rows.filter((row) => row.isIntersecting).forEach((row) => this.#picture(row.target)));

  /** @param {(key: string) => void} open called when an entry is selected @param {Stills} stills thumbnails */
  constructor(open, stills) {
    this.#open = open;
    this.#stills = stills;
    this.key = null;
    by("filters").addEventListener("submit", (event) => event.preventDefault());
    by("filters").addEventListener("input", () => this.load());
    by("more").addEventListener("click", () => this.load(this.#entries.length));
  }

  /** Fill the filters with their values and counts. */
  offer(filters) {
    const words = { state: Object.fromEntries(Object.keys(STATES).map((state) => [state, null])), ...filters };
    const titles = { state: "any state", check: "any check", track: "any track", action: "any class" };
    for (const name of FILTERS) {
      const options = Object.entries(words[name]).sort(([a], [b]) => (name === "state" ? 0 : a.localeCompare(b)));
      fill(
        by(`filter-${name}`),
        el("option", { value: "", textContent: titles[name] }),
        ...options.map(([word, count]) =>
          el("option", { value: word, textContent: word.replaceAll("_", " ") + (count === null ? "" : ` (${count})`) }),
        ),
      );
    }
  }

  /** Load the filtered queue, or its next batch. */
  async load(start = 0) {
    const filters = Object.fromEntries(["text", ...FILTERS].map((name) => [name, by(`filter-${name}`).value]));
    const request = (this.#request += 1);
    const { entries, total, progress } = await api.queue(filters, start);
    if (request !== this.#request) return; // another filter was set meanwhile
    this.#entries = start ? [...this.#entries, ...entries] : entries;
    this.#total = total;
    this.#progress(progress);
    this.#draw();
  }

  /** The key of the entry at an offset from the current one; optionally only open entries. */
  beside(places, { onlyOpen = false } = {}) {
    const here = this.#entries.findIndex((entry) => entry.key === this.key);
    const ahead = places > 0 ? this.#entries.slice(here + 1) : this.#entries.slice(0, Math.max(0, here)).reverse();
    const fits = (entry) => entry.key !== this.key && (!onlyOpen || entry.state === "open");
    const around = onlyOpen && here > 0 ? this.#entries.slice(0, here) : [];
    return [...ahead, ...around].find(fits)?.key ?? null;
  }

  /** Highlight the current entry. */
  mark(key) {
    this.key = key;
    for (const item of by("queue").querySelectorAll("[data-key]")) {
      const isHere = item.dataset.key === key;
      item.firstChild.setAttribute("aria-current", isHere);
      if (isHere) reveal(by("queue"), item);
    }
  }

  #progress(progress) {
    const total = Object.values(progress).reduce((a, b) => a + b, 0);
    for (const part of by("progress").children) part.style.width = `${(100 * (progress[part.className] ?? 0)) / (total || 1)}%`;
    const done = (progress.accepted ?? 0) + (progress.rejected ?? 0);
    by("count").textContent = `${done} of ${total} decided${progress.by_other ? ` · ${progress.by_other} by others` : ""}`;
    by("progress").setAttribute("aria-label", by("count").textContent);
  }

  #draw() {
    this.#seen.disconnect();
    fill(by("queue"), ...this.#entries.map((entry) => this.#item(entry)));
    if (!this.#entries.length) fill(by("queue"), el("li", { className: "none", textContent: "No clip matches these filters." }));
    by("more").hidden = this.#entries.length >= this.#total;
    for (const canvas of by("queue").querySelectorAll("canvas")) this.#seen.observe(canvas);
    this.mark(this.key);
  }

  #picture(canvas) {
    this.#seen.unobserve(canvas);
    this.#stills.paint(canvas, canvas.dataset.media, Number(canvas.dataset.frame));
  }

  #item(entry) {
    const findings = [["error", entry.errors], ["warning", entry.warnings]].filter(([, count]) => count);
    const button = el(
      "button",
      { on: { click: () => this.#open(entry.key) }, className: `entry ${entry.state}` },
      el("canvas", { className: "thumb", width: 112, height: 84, aria: { hidden: true }, data: { media: `/media/${entry.clip_id}`, frame: Math.floor(entry.duration_us / FRAME_US / 2) } }),
      el("span", { className: "state", textContent: STATES[entry.state], title: entry.state.replaceAll("_", " ") }),
      el("span", { className: "name", textContent: entry.source_file || entry.clip_id, title: `${entry.source_file} ${entry.clip_id}` }),
      el("span", { className: "badges" }, ...findings.map(([severity, count]) =>
        el("span", { className: severity, title: `${count} × ${SEVERITIES[severity].word}`, textContent: `${SEVERITIES[severity].sign}${count}` }))),
      el("span", {
        className: "facts",
        textContent: entry.response_status === "ok"
          ? `${(entry.duration_us / 1e6).toFixed(1)} s · ${entry.phases} phases${entry.score === null ? "" : ` · ${Math.round(entry.score * 100)} %`}`
          : `response: ${entry.response_status}`,
      }),
      el("span", { className: "id", textContent: entry.others.join(", ") || entry.clip_id }),
    );
    return el("li", { data: { key: entry.key } }, button);
  }
}
