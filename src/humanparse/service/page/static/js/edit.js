// Edits of the current photo, which the server makes: a form beside the stage, and what came of it.

import * as api from './api.js';
import { find, make, save } from './dom.js';
import { EDITS, HIDING, showRows } from './edits.js';
import { shownPhoto } from './photos.js';
import { Problem } from './problem.js';
import { change, state } from './state.js';
import { currentLanguage, problemText, t } from './strings.js';
import * as token from './token.js';

const SUFFIXES = { 'image/jpeg': '.jpg', 'image/png': '.png', 'image/webp': '.webp' };

const form = find('#edit-form');
const opener = find('#edit-open');
const strength = find('#edit-strength');

let shown = null; // the picture whose edits the form tells about
let running = null; // {abort}, while the server edits
let problem = null; // why the last edit failed
let told = '';

/** Open the form; from now on the button closes and opens it. */
export function start() {
  toggle();
  opener.addEventListener('click', toggle);
  find('#edit-what').addEventListener('change', () => change());
  strength.addEventListener('input', () => change());
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    run(state.current);
  });
  find('#edit-save').addEventListener('click', () => {
    const { stem, edited } = state.current;
    save(edited.body, `${stem}.edited${SUFFIXES[edited.body.type]}`);
  });
}

function toggle() {
  form.hidden = !form.hidden;
  opener.setAttribute('aria-expanded', !form.hidden);
}

export function show() {
  const picture = state.current;
  if (picture !== shown) begin(picture);
  if (picture?.scene) open(picture);
  find('#mode-edited').hidden = find('#edit-save').hidden = !picture?.edited;
  if (state.mode === 'edited' && !picture?.edited) change({ mode: 'overlay' });
  if (!picture?.scene) return;
  showRows(form, find('#edit-what').value, strength);
  find('#edit-whom').hidden = picture.result.people.length < 2;
  find('#edit-whom').textContent = picture.solo ? t('editOne', picture.solo) : t('editAll');
  tell(picture);
}

/** Forget what was asked for another picture. */
function begin(picture) {
  running?.abort();
  running = problem = null;
  shown = picture;
}

/** Decode the edited photo for the stage when its picture is opened again.
 *
 * What was made from the result of another model goes with that result.
 */
async function open(picture) {
  const { scene, result, edited } = picture;
  if (edited && edited.result !== result) picture.edited = null;
  if (!picture.edited || scene.edited !== undefined) return;
  scene.edited = null;
  scene.edited = await shownPhoto(edited.body);
  change();
}

/** Let the server make the edit that the form describes. */
async function run(picture) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  problem = null;
  change();
  const { scene, result } = picture;
  try {
    const { what, options, region } = wanted(picture);
    const { body, missing } = await api.edit(picture.file, options, mine.signal);
    const photo = await shownPhoto(body);
    if (!photo) throw new Problem('bad_answer');
    if (running !== mine) return;
    Object.assign(picture, { edited: { body, missing, what, region, result } });
    scene.edited = photo;
    state.mode = 'edited';
  } catch (error) {
    if (running !== mine) return;
    problem = error instanceof Problem ? error : new Problem('bad_answer', String(error));
    if (problem.code === 'unauthorized') token.ask();
  }
  running = null;
  change();
}

/** Read the form: which edit, where, and the options of /v1/edit for them. */
function wanted(picture) {
  const what = find('#edit-what').value;
  const { takes, option } = EDITS[what];
  const region = takes.includes('region') ? find('#edit-region').value : 'person';
  const [name, text] = option({ region, colour: find('#edit-colour').value });
  const options = { model: picture.model.name, [name]: text };
  if (takes.includes('strength')) options.strength = 2 ** strength.value;
  if (picture.solo) options.people = picture.solo;
  return { what, region, options };
}

/** Say what became of the edit; a screen reader hears it, so only what is new is said. */
function tell(picture) {
  const lines = words(picture);
  const key = `${picture.id} ${currentLanguage()} ${JSON.stringify(lines)}`;
  if (key === told) return;
  told = key;
  find('#edit-said').replaceChildren(
    ...lines.map(([text, look = '', lang = '']) => make('p', { className: look, lang }, text)),
  );
}

/** Return the lines to say, each as [text, class, language]. */
function words({ edited }) {
  if (running) return [[t('editing')]];
  if (problem) {
    const [title] = problemText(problem.code);
    return [[title, 'wrong'], ...(problem.detail ? [[problem.detail, 'faint', 'en']] : [])];
  }
  if (!edited) return [];
  return [
    [t('editDone')],
    ...(edited.missing.length ? [[missingText(edited), 'wrong']] : []),
    ...(HIDING.includes(edited.what) ? [[t('editCareful'), 'faint']] : []),
  ];
}

/** Return what was not found, in the language of the page.
 *
 * The server says "person 2 has no face", or "no face was found" where there are no people.
 */
function missingText({ missing, region }) {
  const ids = missing.map((text) => text.match(/^person (\d+) has no /)?.[1]).filter(Boolean);
  const name = find(`#edit-region [value=${region}]`).textContent;
  return ids.length ? t('editMissingOn', name, ids) : t('editMissing', name);
}
