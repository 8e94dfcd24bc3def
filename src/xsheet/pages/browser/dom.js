// Create elements from plain values. Strings are always inserted as text, never as markup.

/** The element with an id. */
export const by = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} tag
 * @param {Object} [facts] properties; `on` maps events to listeners, `data` and `aria` become attributes
 * @param {...(Node|string|null)} children strings become text nodes, null is left out
 */
export function el(tag, { on = {}, data = {}, aria = {}, ...facts } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), facts);
  for (const [event, listener] of Object.entries(on)) made.addEventListener(event, listener);
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Replace the children of an element. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child !== null));
}

/** Scroll a list, and nothing around it, until one of its items is in view. */
export function reveal(list, item) {
  const [frame, box] = [list.getBoundingClientRect(), item.getBoundingClientRect()];
  if (box.top < frame.top) list.scrollTop -= frame.top - box.top;
  else if (box.bottom > frame.bottom) list.scrollTop += box.bottom - frame.bottom;
}

/** A select box; `label` maps a value to its shown text. */
export function choice(id, words, { chosen = "", label = (word) => word.replaceAll("_", " "), on = {} } = {}) {
  const options = words.map((word) => el("option", { value: word, textContent: label(word), selected: word === chosen }));
  return el("select", { id, on }, ...options);
}
