// The parts that were found, largest first: swatch, name, share, and a switch for each.

import { css, find, icon, make } from './dom.js';
import { regions } from './draw.js';
import { change, state } from './state.js';
import { currentLanguage, labelName, percent, t } from './strings.js';

let shown = '';

export function show() {
  const picture = state.current;
  const section = find('#legend');
  const rows = picture?.scene ? entries(picture) : [];
  section.hidden = !rows.length;
  const key = rows.length ? `${picture.id} ${picture.solo} ${currentLanguage()}` : '';
  if (key && key !== shown) fill(section, picture, rows);
  shown = key;
  if (!key) return;
  for (const input of section.querySelectorAll('input[type=checkbox]'))
    input.checked = !picture.off.has(Number(input.value));
  for (const input of section.querySelectorAll('input[type=radio]'))
    input.checked = input.value === state.colourBy;
  section.classList.toggle('by-person', state.colourBy === 'person');
}

/** Return [{part, label, area, share, people}] of everyone or of the selected person, by area. */
export function entries({ result, solo }) {
  const found = new Map();
  const add = (part) => {
    const entry = found.get(part.class_id) || {
      part: part.class_id,
      label: part.label,
      area: 0,
      people: 0,
    };
    found.set(
      part.class_id,
      Object.assign(entry, { area: entry.area + part.area, people: entry.people + 1 }),
    );
  };
  for (const person of result.people) if (!solo || solo === person.id) person.parts.forEach(add);
  if (!solo) result.loose_parts.forEach(add);
  const all = [...found.values()].toSorted((a, b) => b.area - a.area);
  const total = all.reduce((sum, entry) => sum + entry.area, 0);
  return all.map((entry) => ({ ...entry, share: entry.area / total }));
}

function fill(section, picture, rows) {
  const list = make(
    'ul',
    { className: 'parts' },
    ...rows.map((entry) => row(entry, picture, rows[0].share)),
  );
  const sided = rows.some((entry) => /^(Left|Right)-/.test(entry.label));
  section.replaceChildren(
    make(
      'div',
      { className: 'head' },
      make('h3', {}, t('parts')),
      make('span', { className: 'gap' }),
      button(t('all'), () => switchOff(picture, [])),
      button(t('none'), () =>
        switchOff(
          picture,
          regions(picture.result).map((one) => one.part),
        ),
      ),
    ),
    list,
    ...(sided ? [make('p', { className: 'faint small' }, t('ownSide'))] : []),
    ...(picture.result.people.length > 1 ? [colourBy()] : []),
  );
}

function row({ part, label, share, people }, picture, largest) {
  const name = labelName(label);
  const swatch = make('span', { className: 'swatch' });
  swatch.style.setProperty('--colour', css(picture.scene.palette[part]));
  const bar = make('span', { className: 'share-bar' });
  bar.style.setProperty('--share', share / largest);
  const box = make('input', { type: 'checkbox', value: part });
  box.addEventListener('change', () => {
    if (box.checked) picture.off.delete(part);
    else picture.off.add(part);
    change();
  });
  const words = make(
    'span',
    { className: 'name' },
    name,
    ...(people > 1 ? [make('span', { className: 'faint' }, ` ×${people}`)] : []),
  );
  const only = make(
    'button',
    { type: 'button', className: 'only', 'aria-label': t('only', name), title: t('only', name) },
    icon('target'),
  );
  only.addEventListener('click', () => single(picture, part));
  const item = make(
    'li',
    { 'data-part': part },
    make(
      'label',
      { title: `${label} · ${t('share', percent(share))}` },
      box,
      swatch,
      words,
      bar,
      make('span', { className: 'share' }, percent(share)),
      icon('eye'),
      icon('eye-off'),
    ),
    only,
  );
  item.addEventListener('pointerenter', () => change({ pointed: { person: picture.solo, part } }));
  item.addEventListener('pointerleave', () => change({ pointed: null }));
  return item;
}

/** Show only this part; show all parts again if it was the only one already. */
function single(picture, part) {
  const others = [...new Set(regions(picture.result).map((one) => one.part))].filter(
    (one) => one !== part,
  );
  const alone = !picture.off.has(part) && others.every((one) => picture.off.has(one));
  switchOff(picture, alone ? [] : others);
}

function switchOff(picture, parts) {
  picture.off = new Set(parts);
  change();
}

function button(text, onclick) {
  return make('button', { type: 'button', className: 'link', onclick }, text);
}

function colourBy() {
  const choice = (value, text) =>
    make(
      'label',
      {},
      make('input', {
        type: 'radio',
        name: 'colour-by',
        value,
        onchange: () => change({ colourBy: value }),
      }),
      make('span', {}, text),
    );
  return make(
    'fieldset',
    { className: 'segments small' },
    make('legend', {}, t('colourBy')),
    choice('part', t('byPart')),
    choice('person', t('byPerson')),
  );
}
