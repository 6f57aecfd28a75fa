// The buttons for downloads, and the code that gives the same result.

import { copy, find, icon, make, save, served } from './dom.js';
import { file } from './export.js';
import { curl, javascript, python } from './snippets.js';
import { state } from './state.js';
import { currentLanguage, t } from './strings.js';
import { say } from './voice.js';

const PICTURES = [
  ['overlay', 'fileOverlay', 'PNG'],
  ['colormap', 'fileColormap', 'PNG'],
  ['cutout', 'fileCutout', 'PNG'],
];
const DATA = [
  ['labels', 'fileLabels', 'PNG'],
  ['json', 'fileJson', 'JSON'],
  ['coco', 'fileCoco', 'JSON'],
];

let shown = '';

export function show() {
  const picture = state.current;
  const there = Boolean(picture?.scene);
  find('#take').hidden = find('#code').hidden = !there;
  const key = there ? `${picture.id} ${currentLanguage()} ${state.mode === 'outlines'}` : '';
  if (key && key !== shown) {
    files(picture);
    code(picture);
  }
  shown = key;
}

function files(picture) {
  const buttons = (formats) =>
    make(
      'div',
      { className: 'files' },
      ...formats.map(([format, name, kind]) => {
        const title = t(format === 'overlay' && state.mode === 'outlines' ? 'fileOutlines' : name);
        return make(
          'button',
          {
            type: 'button',
            className: 'button small',
            'data-format': format,
            'aria-label': t('download', title, kind),
            onclick: () => hand(picture, format),
          },
          icon('save'),
          title,
        );
      }),
    );
  find('#take').replaceChildren(
    make('h3', {}, t('take')),
    make('p', { className: 'faint small' }, t('asShown')),
    buttons(PICTURES),
    make('p', { className: 'faint small' }, t('everything')),
    buttons(DATA),
  );
}

async function hand(picture, format) {
  try {
    const { blob, name } = await file(picture, format);
    save(blob, name);
  } catch {
    say(t('fileFailed'));
  }
}

function code(picture) {
  const block = (title, text) =>
    make(
      'div',
      { className: 'snippet' },
      make(
        'div',
        { className: 'head' },
        make('h4', {}, title),
        make('span', { className: 'gap' }),
        make(
          'button',
          {
            type: 'button',
            className: 'link',
            'aria-label': `${t('copy')}: ${title}`,
            onclick: () => hold(text),
          },
          icon('copy'),
          t('copy'),
        ),
      ),
      make('pre', { tabIndex: 0 }, make('code', {}, text)),
    );
  find('#code').replaceChildren(
    make(
      'details',
      {},
      make('summary', {}, t('code')),
      served ? block('curl', curl(picture)) : block('JavaScript', javascript()),
      block('Python', python(picture)),
    ),
  );
}

async function hold(text) {
  try {
    await copy(text);
    say(t('copied'));
  } catch {
    say(t('copyFailed'));
  }
}
