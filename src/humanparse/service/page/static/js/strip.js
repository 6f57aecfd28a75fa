// The strip of several pictures with the state of each, and all results as one zip.

import { find, icon, make, save } from './dom.js';
import { file } from './export.js';
import { change, state } from './state.js';
import { currentLanguage, t } from './strings.js';
import { choose } from './upload.js';
import { say } from './voice.js';
import { zip } from './zip.js';

const IN_ZIP = ['overlay', 'labels', 'json'];
const STATES = {
  waiting: 'stateWaiting',
  sending: 'stateSending',
  parsing: 'stateParsing',
  done: 'stateDone',
  failed: 'stateFailed',
  cancelled: 'stateCancelled',
};

const items = new Map(); // picture → its element
let language = '';
let acts = {};

/** Set what to call. look(picture): makes it the current one; remove(picture): forgets it;
 * prepare(picture): makes its scene; release(picture): forgets its pixels.
 */
export function start(actions) {
  acts = actions;
}

export function show() {
  const strip = find('#strip');
  strip.hidden = state.pictures.length < 2;
  if (language !== currentLanguage()) items.clear();
  if (language !== currentLanguage() || !strip.children.length) frame(strip);
  language = currentLanguage();
  const list = find('ol', strip);
  for (const [picture, item] of items) {
    if (state.pictures.includes(picture)) continue;
    item.remove();
    items.delete(picture);
  }
  for (const picture of state.pictures) {
    if (!items.has(picture)) {
      items.set(picture, thumbnail(picture));
      list.append(items.get(picture));
    }
    update(items.get(picture), picture);
  }
  const done = state.pictures.filter((picture) => picture.result).length;
  const button = find('.zip', strip);
  button.disabled = done === 0;
  find('span', button).textContent = t('zip', done);
}

function frame(strip) {
  const zipButton = make(
    'button',
    { type: 'button', className: 'button small zip', onclick: downloadAll },
    icon('save'),
    make('span'),
  );
  const addButton = make(
    'button',
    {
      type: 'button',
      className: 'tile add',
      title: t('more'),
      'aria-label': t('more'),
      onclick: choose,
    },
    icon('plus'),
  );
  strip.replaceChildren(make('ol'), addButton, make('span', { className: 'gap' }), zipButton);
}

function thumbnail(picture) {
  const image = make('img', { src: picture.url, alt: '', decoding: 'async', draggable: false });
  image.addEventListener('error', () => image.remove());
  return make(
    'li',
    {},
    make(
      'button',
      { type: 'button', className: 'tile', onclick: () => acts.look(picture) },
      image,
      make('span', { className: 'badge' }),
    ),
    make(
      'button',
      {
        type: 'button',
        className: 'remove',
        title: t('remove', picture.name),
        'aria-label': t('remove', picture.name),
        onclick: () => acts.remove(picture),
      },
      icon('close'),
    ),
  );
}

function update(item, picture) {
  const tile = find('.tile', item);
  const badge = find('.badge', item);
  item.className = picture.status;
  tile.setAttribute('aria-pressed', picture === state.current);
  tile.setAttribute('aria-label', `${picture.name}, ${t(STATES[picture.status])}`);
  tile.title = `${picture.name}, ${t(STATES[picture.status])}`;
  const mark =
    picture.status === 'done'
      ? String(picture.result.people.length)
      : { failed: '!', cancelled: '–' }[picture.status] || '';
  if (badge.textContent !== mark) badge.textContent = mark;
}

async function downloadAll() {
  say(t('working'));
  try {
    const files = [];
    for (const picture of state.pictures.filter((one) => one.result)) {
      await acts.prepare(picture);
      for (const format of IN_ZIP) files.push(await file(picture, format));
      acts.release(picture);
    }
    save(await zip(files), 'humanparse.zip');
    say('');
  } catch {
    say(t('fileFailed'));
  }
  change();
}
