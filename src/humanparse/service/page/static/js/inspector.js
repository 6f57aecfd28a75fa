// Beside the stage: how much was found, the table of it, the model, and how long it took.

import { find, make, served } from './dom.js';
import { state } from './state.js';
import { currentLanguage, integer, labelName, milliseconds, percent, t } from './strings.js';

let shown = '';

export function start() {
  const handle = find('#sheet');
  handle.addEventListener('click', () => {
    const open = find('#inspector').classList.toggle('open');
    handle.setAttribute('aria-expanded', open);
  });
}

export function show() {
  const picture = state.current;
  if (!picture) return;
  const stage = picture.scene ? picture.times.show : picture.status;
  const key = `${picture.id} ${stage} ${currentLanguage()}`;
  if (key === shown) return;
  shown = key;
  find('#table').hidden = find('#footer').hidden = !picture.scene;
  if (!picture.scene) {
    find('#summary').replaceChildren(
      make('h2', {}, t('noResult')),
      make('p', { className: 'faint file' }, picture.name),
    );
    return;
  }
  summary(picture);
  table(picture.result);
  footer(picture);
}

/** Return, for example, "3 people, 14 parts". */
export function foundText({ people, loose_parts: loose }) {
  return t(
    'found',
    people.length,
    people.reduce((sum, person) => sum + person.parts.length, loose.length),
  );
}

function summary({ result, name, original }) {
  const nothing = !result.people.length && !result.loose_parts.length;
  find('#summary').replaceChildren(
    make('h2', {}, nothing ? t('nobody') : foundText(result)),
    make('p', { className: 'faint file' }, `${name} · ${result.width} × ${result.height}`),
    ...(original ? [make('p', { className: 'faint small' }, t('shrunk', original))] : []),
    ...(nothing ? [make('p', {}, t('nobodyHint'))] : []),
  );
}

function table({ people, loose_parts: loose }) {
  const section = find('#table');
  const rows = [
    ...people.flatMap((person) =>
      person.parts.map((part, i) => ({
        who: t('person', person.id),
        first: i === 0,
        count: person.parts.length,
        ...part,
      })),
    ),
    ...loose.map((part, i) => ({
      who: t('noPerson'),
      first: i === 0,
      count: loose.length,
      ...part,
    })),
  ];
  section.hidden = !rows.length;
  const head = make(
    'tr',
    {},
    ...['person', 'part', 'score', 'area'].map((name) =>
      make(
        'th',
        { scope: 'col' },
        name === 'person' ? t('people') : name === 'area' ? `${t('area')}, px` : t(name),
      ),
    ),
  );
  const body = rows.map((row) =>
    make(
      'tr',
      {},
      ...(row.first ? [make('th', { scope: 'rowgroup', rowSpan: row.count }, row.who)] : []),
      make('td', { title: row.label }, labelName(row.label)),
      make('td', { className: 'number' }, percent(row.score)),
      make('td', { className: 'number' }, integer(row.area)),
    ),
  );
  section.replaceChildren(
    make(
      'details',
      {},
      make('summary', {}, t('table')),
      make('table', {}, make('thead', {}, head), make('tbody', {}, ...body)),
    ),
  );
}

function footer({ model, times }) {
  const stages = [
    ...(served ? [`${t('timeUpload')} ${milliseconds(times.upload)}`] : []),
    ...(times.known
      ? [t('timeKnown')]
      : [
          `${t('timeQueue')} ${milliseconds(times.queue)}`,
          `${t('timeParse')} ${milliseconds(times.parse)}`,
        ]),
    `${t('timeShow')} ${milliseconds(times.show)}`,
  ];
  find('#footer').replaceChildren(
    make('p', { id: 'used-model' }, model.name),
    make('p', {}, stages.join(' · ')),
  );
}
