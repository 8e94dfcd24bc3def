// The table of all clips: sorted, filtered and paged by keyboard; a row opens what was packed of its clip.
"use strict";

const ROW = ["clip", "score", "errors", "warnings", "phases", "seconds", "reply", "checks", "actions"];
const PER_PAGE = 50;
const $ = (id) => document.getElementById(id);
const { shown, per_block: perBlock, packed } = JSON.parse($("layout").textContent);
const rows = JSON.parse($("rows").textContent).map((values, place) => ({ place, ...Object.fromEntries(ROW.map((name, i) => [name, values[i]])) }));
const body = $("table").tBodies[0];
const view = { key: "place", down: false, page: 0 };
const unpacked = new Map();

/** Rows that pass the filters, in order; what has no value comes last either way. */
function matching() {
  const wanted = $("find").value.trim().toLowerCase();
  const [severity, reply] = [$("severity").value, $("reply").value];
  const bad = { "": () => true, error: (row) => row.errors, warning: (row) => row.errors || row.warnings, clean: (row) => !row.errors && !row.warnings }[severity];
  // A check is asked for by its whole name: G1 is not G10.
  const says = (row) => row.checks.some((check) => check.toLowerCase() === wanted) || [row.clip, ...row.actions].some((text) => text.toLowerCase().replaceAll("_", " ").includes(wanted.replaceAll("_", " ")));
  const found = rows.filter((row) => bad(row) && (!reply || row.reply === reply) && (!wanted || says(row)));
  const value = (row) => (Array.isArray(row[view.key]) ? row[view.key].join(" ") : row[view.key]);
  return found.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a.place - b.place;
    return (x < y ? -1 : x > y ? 1 : 0) * (view.down ? -1 : 1) || a.place - b.place;
  });
}

function cell(text, kind = "") {
  const made = document.createElement("td");
  made.textContent = text;
  made.className = kind;
  return made;
}

function draw() {
  const found = matching();
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  view.page = Math.min(Math.max(view.page, 0), pages - 1);
  body.replaceChildren(...found.slice(view.page * PER_PAGE, (view.page + 1) * PER_PAGE).map(line));
  if (body.rows.length) body.rows[0].tabIndex = 0;
  $("matching").textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
  $("page").textContent = `page ${view.page + 1} of ${pages}`;
  $("previous").disabled = view.page === 0;
  $("next").disabled = view.page === pages - 1;
  for (const head of document.querySelectorAll("#table th")) {
    const key = head.firstElementChild.dataset.key;
    head.setAttribute("aria-sort", key !== view.key ? "none" : view.down ? "descending" : "ascending");
  }
}

function line(row) {
  const made = document.createElement("tr");
  made.className = "row";
  made.tabIndex = -1;
  made.setAttribute("aria-expanded", "false");
  const clip = cell("");
  clip.append(Object.assign(document.createElement("code"), { textContent: row.clip }));
  made.append(
    cell(row.place + 1, "n soft"), clip, cell(row.score === null ? "" : row.score.toFixed(2), "n"),
    cell(row.errors ? `◆ ${row.errors}` : "", "n error"), cell(row.warnings ? `▲ ${row.warnings}` : "", "n warning"),
    cell(row.phases, "n"), cell(row.seconds.toFixed(1), "n"), cell(row.reply, row.reply === "ok" ? "soft" : "error"), cell(row.checks.join(" "), "soft"),
  );
  made.addEventListener("click", () => toggle(made, row));
  made.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") toggle(made, row);
    else if (event.key === "ArrowDown") step(made, 1);
    else if (event.key === "ArrowUp") step(made, -1);
    else return;
    event.preventDefault();
  });
  return made;
}

function step(from, by) {
  const all = [...body.querySelectorAll("tr.row")];
  const to = all[all.indexOf(from) + by];
  if (to) to.focus();
}

async function toggle(made, row) {
  if (made.classList.toggle("open")) {
    const held = document.createElement("tr");
    held.className = "detail";
    const inside = cell("…");
    inside.colSpan = 9;
    held.append(inside);
    made.after(held);
    inside.replaceChildren(await detail(row));
  } else if (made.nextElementSibling?.className === "detail") made.nextElementSibling.remove();
  made.setAttribute("aria-expanded", made.classList.contains("open"));
}

/** The card of a clip: a copy of the one on the page, or out of its block; every value in it was escaped when it was made. */
async function detail(row) {
  if (row.place < shown) {
    const copy = $(`clip-${row.place}`).cloneNode(true);
    copy.removeAttribute("id");
    return copy;
  }
  const at = row.place - shown;
  if (at >= packed) return document.createTextNode("Not on this page: `xsheet audit explain` tells of it.");
  const block = Math.floor(at / perBlock);
  if (!unpacked.has(block)) unpacked.set(block, unpack($(`block-${block}`).textContent));
  const made = document.createElement("template");
  made.innerHTML = (await unpacked.get(block))[at % perBlock];
  return made.content;
}

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).json();
}

function turn(by) {
  view.page += by;
  draw();
}

function listen() {
  for (const head of document.querySelectorAll("#table th button")) {
    head.addEventListener("click", () => {
      const key = head.dataset.key;
      // Counts and scores are asked for from their bad end.
      view.down = key === view.key ? !view.down : ["errors", "warnings", "phases", "seconds"].includes(key);
      view.key = key;
      turn(-view.page);
    });
  }
  for (const id of ["find", "severity", "reply"]) $(id).addEventListener("input", () => turn(-view.page));
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  for (const button of document.querySelectorAll(".filter")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      $("find").value = button.dataset.check;
      turn(-view.page);
      $("clips").scrollIntoView();
      body.rows[0]?.focus({ preventScroll: true });
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) $("find").focus();
    else if (event.key === "Escape" && event.target === $("find")) body.rows[0]?.focus();
    else if (event.key === "ArrowDown" && event.target === $("find")) body.rows[0]?.focus();
    else if (!typing && $("browser").contains(event.target) && event.key === "ArrowRight") turn(1);
    else if (!typing && $("browser").contains(event.target) && event.key === "ArrowLeft") turn(-1);
    else return;
    event.preventDefault();
    if (/^Arrow(Left|Right)$/.test(event.key)) body.rows[0]?.focus();
  });
}

for (const reply of new Set(rows.map((row) => row.reply))) $("reply").append(new Option(reply, reply));
listen();
draw();
$("browser").hidden = false;
