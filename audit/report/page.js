// The table of all clips: sorted, filtered and paged by keyboard; a row opens the card of its clip.
"use strict";

const COLUMNS = ["clip", "file", "score", "errors", "warnings", "phases", "seconds", "response_status", "checks", "actions"];
const PER_PAGE = 50;
const $ = (id) => document.getElementById(id);
const { worst, per_block: perBlock, packed } = JSON.parse($("layout").textContent);
const rows = JSON.parse($("rows").textContent).map((values, rank) => ({ rank, ...Object.fromEntries(COLUMNS.map((name, i) => [name, values[i]])) }));
const body = $("table").tBodies[0];
const view = { key: "rank", descending: false, page: 0 };
const unpacked = new Map();

/** Rows that pass the filters, sorted; rows without a value come last in both directions. */
function matching() {
  const query = $("find").value.trim().toLowerCase();
  const [severity, response] = [$("severity").value, $("response").value];
  const hasSeverity = { "": () => true, error: (row) => row.errors, warning: (row) => row.errors || row.warnings, clean: (row) => !row.errors && !row.warnings }[severity];
  // A check matches by its full name: G1 does not match G10.
  const matches = (row) => row.checks.some((check) => check.toLowerCase() === query) || [row.clip, row.file, ...row.actions].some((text) => text.toLowerCase().replaceAll("_", " ").includes(query.replaceAll("_", " ")));
  const found = rows.filter((row) => hasSeverity(row) && (!response || row.response_status === response) && (!query || matches(row)));
  const value = (row) => (Array.isArray(row[view.key]) ? row[view.key].join(" ") : row[view.key]);
  return found.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a.rank - b.rank;
    return (x < y ? -1 : x > y ? 1 : 0) * (view.descending ? -1 : 1) || a.rank - b.rank;
  });
}

function cell(text, label, kind = "") {
  const element = document.createElement("td");
  element.textContent = text;
  element.className = kind;
  if (label) element.dataset.label = label;
  return element;
}

function render() {
  const found = matching();
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  view.page = Math.min(Math.max(view.page, 0), pages - 1);
  body.replaceChildren(...found.slice(view.page * PER_PAGE, (view.page + 1) * PER_PAGE).map(tableRow));
  if (body.rows.length) body.rows[0].tabIndex = 0;
  $("matching").textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
  $("page").textContent = `page ${view.page + 1} of ${pages}`;
  $("previous").disabled = view.page === 0;
  $("next").disabled = view.page === pages - 1;
  for (const head of document.querySelectorAll("#table th")) {
    const key = head.firstElementChild.dataset.key;
    head.setAttribute("aria-sort", key !== view.key ? "none" : view.descending ? "descending" : "ascending");
  }
}

function tableRow(row) {
  const element = document.createElement("tr");
  element.className = "row";
  element.tabIndex = -1;
  element.setAttribute("aria-expanded", "false");
  const clip = cell("", "", "clip");
  clip.append(Object.assign(document.createElement("code"), { textContent: row.clip }));
  element.append(
    cell(row.rank + 1, "", "n soft rank"), clip, cell(row.file, "file", "file"), cell(row.score === null ? "" : row.score.toFixed(2), "score", "n"),
    cell(row.errors ? `◆ ${row.errors}` : "", "errors", "n error"), cell(row.warnings ? `▲ ${row.warnings}` : "", "warnings", "n warning"),
    cell(row.phases, "phases", "n"), cell(row.seconds.toFixed(1), "seconds", "n"),
    cell(row.response_status, "response", row.response_status === "ok" ? "soft" : "error"), cell(row.checks.join(" "), "checks", "soft"),
  );
  element.addEventListener("click", () => toggle(element, row));
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") toggle(element, row);
    else if (event.key === "ArrowDown") step(element, 1);
    else if (event.key === "ArrowUp") step(element, -1);
    else return;
    event.preventDefault();
  });
  return element;
}

function step(from, by) {
  const all = [...body.querySelectorAll("tr.row")];
  const to = all[all.indexOf(from) + by];
  if (to) to.focus();
}

async function toggle(element, row) {
  if (element.classList.toggle("open")) {
    const detailRow = document.createElement("tr");
    detailRow.className = "detail";
    const inside = cell("…");
    inside.colSpan = 10;
    detailRow.append(inside);
    element.after(detailRow);
    inside.replaceChildren(await detail(row));
  } else if (element.nextElementSibling?.className === "detail") element.nextElementSibling.remove();
  element.setAttribute("aria-expanded", element.classList.contains("open"));
}

/** The card of a clip: a copy from the page, or unpacked from its block. Its values are escaped already. */
async function detail(row) {
  if (row.rank < worst) {
    const copy = $(`clip-${row.rank}`).cloneNode(true);
    copy.removeAttribute("id");
    return copy;
  }
  const at = row.rank - worst;
  if (at >= packed) return document.createTextNode("The page has no card for this clip: run `xsheet audit explain`.");
  const block = Math.floor(at / perBlock);
  if (!unpacked.has(block)) unpacked.set(block, unpack($(`block-${block}`).textContent));
  const element = document.createElement("template");
  element.innerHTML = (await unpacked.get(block))[at % perBlock];
  return element.content;
}

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).json();
}

function turnPage(by) {
  view.page += by;
  render();
}

function listen() {
  for (const head of document.querySelectorAll("#table th button")) {
    head.addEventListener("click", () => {
      const key = head.dataset.key;
      // The first click sorts counts in descending order.
      view.descending = key === view.key ? !view.descending : ["errors", "warnings", "phases", "seconds"].includes(key);
      view.key = key;
      turnPage(-view.page);
    });
  }
  for (const id of ["find", "severity", "response"]) $(id).addEventListener("input", () => turnPage(-view.page));
  $("previous").addEventListener("click", () => turnPage(-1));
  $("next").addEventListener("click", () => turnPage(1));
  for (const button of document.querySelectorAll(".filter")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      $("find").value = button.dataset.check;
      turnPage(-view.page);
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
    else if (!typing && $("browser").contains(event.target) && event.key === "ArrowRight") turnPage(1);
    else if (!typing && $("browser").contains(event.target) && event.key === "ArrowLeft") turnPage(-1);
    else return;
    event.preventDefault();
    if (/^Arrow(Left|Right)$/.test(event.key)) body.rows[0]?.focus();
  });
}

for (const status of new Set(rows.map((row) => row.response_status))) $("response").append(new Option(status, status));
listen();
render();
$("browser").hidden = false;
