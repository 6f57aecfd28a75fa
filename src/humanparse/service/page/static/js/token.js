// Asks the visitor for the token of a server that requires one.

import * as api from './api.js';
import { find } from './dom.js';

const dialog = find('#token');

/** again(): called each time a token was entered. */
export function start(again) {
  find('#token-form').addEventListener('submit', () => {
    api.setToken(find('#token-text').value.trim());
    again();
  });
}

/** Ask for a token, and say so if the last one was wrong. */
export function ask() {
  if (dialog.open) return;
  find('#token-wrong').hidden = !api.token();
  find('#token-text').value = '';
  dialog.showModal();
}
