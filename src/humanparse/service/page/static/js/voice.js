// Short messages: shown as a note for some seconds, or only read out by screen readers.

import { find } from './dom.js';

const SECONDS = 4;
let hiding = 0;

/** Show a note, or none for ''; screen readers read it out. */
export function say(text) {
  const toast = find('#toast');
  toast.textContent = text;
  toast.hidden = !text;
  clearTimeout(hiding);
  hiding = setTimeout(() => {
    toast.hidden = true;
  }, SECONDS * 1000);
}

/** Send a message to screen readers only. */
export function announce(text) {
  const live = find('#live');
  if (live.textContent !== text) live.textContent = text;
}
