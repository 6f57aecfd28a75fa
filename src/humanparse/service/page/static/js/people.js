// The people as chips, one of which can be selected.

import { css, find, make } from './dom.js';
import { personColour } from './draw.js';
import { change, state } from './state.js';
import { currentLanguage, percent, t } from './strings.js';

let shown = '';

export function show() {
  const picture = state.current;
  const section = find('#people');
  section.hidden = !picture?.scene || picture.result.people.length < 2;
  const key = section.hidden ? '' : `${picture.id} ${currentLanguage()}`;
  if (key && key !== shown) fill(section, picture);
  shown = key;
  for (const chip of section.querySelectorAll('.chip'))
    chip.setAttribute('aria-pressed', Number(chip.dataset.person) === picture.solo);
}

function fill(section, picture) {
  const chips = picture.result.people.map((person) => {
    const dot = make('span', { className: 'dot' });
    dot.style.background = css(personColour(person.id));
    const chip = make(
      'button',
      {
        type: 'button',
        className: 'chip',
        'data-person': person.id,
        'aria-label': `${t('person', person.id)}, ${t('sure', percent(person.score))}`,
      },
      dot,
      String(person.id),
    );
    const point = (pointed) => () => change({ pointed });
    chip.title = `${t('person', person.id)}, ${t('sure', percent(person.score))}`;
    chip.addEventListener('pointerenter', point({ person: person.id, part: 0 }));
    chip.addEventListener('pointerleave', point(null));
    chip.addEventListener('click', () =>
      single(picture, picture.solo === person.id ? 0 : person.id),
    );
    return chip;
  });
  const everyone = make(
    'button',
    { type: 'button', className: 'chip', 'data-person': 0 },
    t('everyone'),
  );
  everyone.addEventListener('click', () => single(picture, 0));
  section.replaceChildren(
    make('h3', { id: 'people-title' }, t('people')),
    make(
      'div',
      { className: 'chips', role: 'group', 'aria-labelledby': 'people-title' },
      everyone,
      ...chips,
    ),
  );
}

function single(picture, person) {
  picture.solo = person;
  change();
}
