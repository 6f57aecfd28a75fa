// The tooltip for what is under the pointer or was tapped: part, person, score and share.

import { css, find, make } from './dom.js';
import { change, state } from './state.js';
import { labelName, percent, t } from './strings.js';

const AWAY = 16; // screen pixels between pointer and tooltip

const tooltip = find('#tooltip');

/** Show the tooltip. pointed: {person, part} or null; x, y: the position in the window. */
export function point(pointed, x, y) {
  const before = state.pointed;
  if (pointed?.part !== before?.part || pointed?.person !== before?.person) {
    if (pointed) fill(pointed);
    change({ pointed });
  }
  tooltip.hidden = !pointed;
  if (pointed) place(x, y);
}

export function show() {
  if (!state.pointed || !state.current?.scene) tooltip.hidden = true;
}

function fill({ person: id, part: classId }) {
  const { result, scene } = state.current;
  const person = result.people.find((one) => one.id === id);
  const part = (person ? person.parts : result.loose_parts).find((one) => one.class_id === classId);
  if (!part) return tooltip.replaceChildren();
  const swatch = make('span', { className: 'swatch' });
  swatch.style.setProperty('--colour', css(scene.palette[classId]));
  const facts = [
    t('sure', percent(part.score)),
    ...(person ? [t('ofPerson', percent(part.area / person.area))] : []),
  ];
  return tooltip.replaceChildren(
    make('p', { className: 'what' }, swatch, make('strong', {}, labelName(part.label))),
    make('p', {}, person ? t('person', id) : t('noPerson')),
    make('p', { className: 'faint' }, facts.join(' · ')),
  );
}

function place(x, y) {
  const { offsetWidth: wide, offsetHeight: high } = tooltip;
  const left = x + AWAY + wide > innerWidth ? x - AWAY - wide : x + AWAY;
  const top = y + AWAY + high > innerHeight ? y - AWAY - high : y + AWAY;
  tooltip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
}
