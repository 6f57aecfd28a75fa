// Helpers that find, make and fill elements.

/** Return the first element inside `root` that matches. */
export const find = (selector, root = document) => root.querySelector(selector);

/** Whether results come from a server, and not from the browser itself. */
export const served = document.documentElement.dataset.source === 'server';

/** Make an element.
 *
 * props: set as properties, or as attributes if the name contains "-" or is `role` or `for`.
 */
export function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes('-') || name === 'role' || name === 'for') element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Make an icon from one of the symbols at the end of index.html. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Return "rgb(1 2 3)" for [1, 2, 3]. */
export const css = (colour) => `rgb(${colour.join(' ')})`;

/** Let the visitor save a file. */
export function save(blob, name) {
  const link = make('a', { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Copy text to the clipboard; pages that came over plain http can only do so the old way. */
export async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = make('textarea', { value: text, className: 'unseen' });
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  if (!done) throw new Error('copying is not allowed');
}
