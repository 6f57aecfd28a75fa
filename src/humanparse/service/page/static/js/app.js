// Puts the page together: pictures come in, are sent, and the modules show the state.

import * as api from './api.js';
import * as camera from './camera.js';
import * as cards from './cards.js';
import { find, make } from './dom.js';
import { newScene } from './draw.js';
import * as inspector from './inspector.js';
import { takesClips } from './jobs.js';
import * as legend from './legend.js';
import { decode, MAX_SHOWN_PIXELS } from './maps.js';
import { remember } from './memory.js';
import * as people from './people.js';
import { shownPhoto } from './photos.js';
import * as queue from './queue.js';
import { change, listen, newPicture, state } from './state.js';
import * as strip from './strip.js';
import { percent, problemText, switchLanguage, t, translatePage } from './strings.js';
import * as take from './take.js';
import * as token from './token.js';
import * as toolbar from './toolbar.js';
import * as tooltip from './tooltip.js';
import * as upload from './upload.js';
import { announce, say } from './voice.js';
import * as view from './view.js';

const ENDINGS = /\.(3gp|avi|flv|ivf|m4v|mkv|mov|mp4|mpe?g|mts|ogv|ts|webm|wmv|y4m)$/i;
const isClip = (file) => file.type.startsWith('video/') || ENDINGS.test(file.name);

let clip = null; // the part of the page that shows clips, once it is needed

translatePage();
if (takesClips) find('#files').accept += ',video/*,.mkv,.avi,.mov';
view.start(tooltip.point);
cards.start();
inspector.start();
toolbar.start();
token.start(meet);
upload.start(add, () => say(t('notFile')));
camera.start(add, () => say(t('cameraFailed')));
queue.start({ done, token: token.ask, models: loadModels });
strip.start({ look, remove, prepare, release });
find('#language').addEventListener('click', () => {
  switchLanguage();
  change();
});
find('#theme').addEventListener('click', switchTheme);
find('#model').addEventListener('change', (event) => chooseModel(event.target.value));
listen(frame);
for (const part of [view, cards, toolbar, tooltip, inspector, people, legend, take, strip])
  listen(part.show);
meet();
awaitEdit();
change();
document.documentElement.classList.add('ready');

/** Add photos, or show a clip, which is alone. */
function add(files) {
  const film = files.find(isClip);
  if (state.clip) say(t('clipFirst'));
  else if (film && takesClips) openClip(film);
  else if (film) say(t('noClips'));
  else addPhotos(files);
}

/** Show a clip; what only clips need is loaded with the first. */
async function openClip(film) {
  try {
    clip ??= await loaded('./clip.js', token.ask);
  } catch {
    say(problemText('network')[0]);
    return;
  }
  clip.open(film, token.ask);
}

/** Add new photos and show the first; it replaces a current photo that cannot be parsed. */
function addPhotos(files) {
  const pictures = [];
  for (const file of files) pictures.push(newPicture(file, [...state.pictures, ...pictures]));
  const hopeless =
    state.current?.status === 'failed' &&
    !state.current.problem.retryable &&
    !queue.canShrink(state.current);
  if (hopeless) forget(state.current);
  state.pictures.push(...pictures);
  look(pictures[0]);
  queue.pump();
}

/** Make a picture the current one, and release the pixels of the others. */
async function look(picture) {
  for (const other of state.pictures) if (other !== picture) release(other);
  change({ current: picture, pointed: null });
  if (picture.result) await open(picture);
  else await preview(picture);
}

/** Show the photo while its result is on the way. */
async function preview(picture) {
  await read(picture);
  change();
}

/** Handle a result: show it if its picture is the current one, and announce it. */
async function done(picture) {
  if (picture === state.current) await open(picture);
  const { name, result } = picture;
  announce(`${name}: ${result.people.length ? inspector.foundText(result) : t('nobody')}`);
}

async function open(picture) {
  await prepare(picture);
  if (picture !== state.current) return;
  view.reveal();
  change();
}

/** Decode what is needed to draw a picture's result. */
async function prepare(picture) {
  if (picture.scene) return;
  await read(picture);
  const begun = performance.now();
  picture.scene = newScene(
    picture.result,
    picture.photo,
    decode(picture.result, MAX_SHOWN_PIXELS),
    picture.model.palettes.clear,
  );
  picture.times.show ??= performance.now() - begun;
}

/** Decode the photo for the screen, only once. */
async function read(picture) {
  picture.reading ??= shownPhoto(picture.file);
  picture.photo = await picture.reading;
}

/** Release a picture's pixels until it becomes the current one again. */
function release(picture) {
  if (picture === state.current) return;
  picture.photo?.close();
  Object.assign(picture, { photo: undefined, reading: null, scene: null });
}

function remove(picture) {
  const at = state.pictures.indexOf(picture);
  forget(picture);
  if (picture === state.current) look(state.pictures[Math.min(at, state.pictures.length - 1)]);
  change();
}

function forget(picture) {
  state.pictures.splice(state.pictures.indexOf(picture), 1);
  queue.cancel(picture);
  URL.revokeObjectURL(picture.url);
}

// The frame of the page

function frame() {
  const any = state.pictures.length > 0;
  const film = Boolean(state.clip);
  const left = any && find('#welcome').contains(document.activeElement);
  find('#welcome').hidden = any || film;
  find('#work').hidden = !any || film;
  find('#add').hidden = find('.skip').hidden = !any || film;
  find('#clip-hint').hidden = !takesClips;
  if (left && !film) find('#stage').focus(); // the button that had the focus is gone
  find('#edit').hidden = !state.current?.scene;
  find('#language').textContent = t('language');
  find('#language').setAttribute('aria-label', t('languageLabel'));
  find('#stage').setAttribute('aria-label', t('stage'));
  const loading = state.loading !== null;
  find('#loading').hidden = !loading;
  if (loading) find('#loading').textContent = t('loading', percent(state.loading));
  tellProgress(state.current);
}

function awaitEdit() {
  find('#edit-open').addEventListener('click', loadEdit, { once: true });
}

/** Load a part of the page, and start it. */
async function loaded(file, ...options) {
  const part = await import(file);
  part.start(...options);
  listen(part.show);
  return part;
}

/** Load what only visitors who edit need, once they press the button. */
async function loadEdit() {
  try {
    await loaded('./edit.js');
    change();
  } catch {
    say(problemText('network')[0]);
    awaitEdit();
  }
}

/** Tell screen readers about the current picture's state, but not about every percent of it. */
function tellProgress(picture) {
  if (!picture || picture.result) return;
  if (picture.status === 'failed') announce(problemText(picture.problem.code).join(' '));
  else {
    const text = picture.status === 'sending' ? t('stateSending') : cards.progressText(picture);
    announce(`${picture.name}: ${text}`);
  }
}

/** Fetch the models and fill the menu with them. Throws a Problem. */
async function loadModels() {
  change({ models: await api.models() });
  if (!state.models.some((model) => model.name === state.model)) state.model = state.models[0].name;
  const options = state.models.map((model) =>
    make('option', { value: model.name, selected: model.name === state.model }, model.name),
  );
  find('#model').replaceChildren(...options);
  find('#model-choice').hidden = state.models.length < 2;
}

/** Fetch the models when the page opens and when a token was entered.
 *
 * Every error but a missing token is shown with the first photo.
 */
async function meet() {
  try {
    await loadModels();
  } catch (problem) {
    if (problem.code === 'unauthorized') token.ask();
    return;
  }
  for (const picture of state.pictures)
    if (picture.problem?.code === 'unauthorized') queue.retry(picture);
  if (state.clip?.problem?.code === 'unauthorized') clip?.run(token.ask);
}

/** Switch to another model, and parse the current picture again with it. */
function chooseModel(name) {
  state.model = name;
  const picture = state.current;
  if (!picture || !['done', 'failed', 'cancelled'].includes(picture.status)) return;
  Object.assign(picture, { result: null, scene: null, off: new Set(), solo: 0 });
  queue.retry(picture);
}

function switchTheme() {
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const next =
    (document.documentElement.dataset.theme || (dark ? 'dark' : 'light')) === 'dark'
      ? 'light'
      : 'dark';
  document.documentElement.dataset.theme = next;
  remember('theme', next);
}
