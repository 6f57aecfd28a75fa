// Edits of a clip: a form below its player. The server parses the clip once more, with the edit.

import { find, make } from './dom.js';
import { EDITS, HIDING, showRows } from './edits.js';
import { problemText, t } from './strings.js';

const form = find('#edit-form').cloneNode(true); // with the fields of a photo's edits
const field = (name) => find(`[data-field=${name}]`, form);

/** Put the form into the page. apply(options, what): called with the options of the job. */
export function start(apply) {
  form.id = 'clip-edit';
  form.hidden = false;
  for (const id of ['edit-save', 'edit-whom']) find(`#${id}`, form).remove();
  for (const name of ['what', 'region', 'colour', 'strength', 'said']) {
    const element = find(`#edit-${name}`, form);
    element.removeAttribute('id');
    element.dataset.field = name;
  }
  field('what').prepend(make('option', { value: '' }));
  field('what').value = '';
  const who = make('select');
  who.dataset.field = 'who';
  const row = make('label', {}, make('span'), who);
  row.dataset.takes = 'region';
  find('[data-takes=colour]', form).before(row);
  form.addEventListener('input', rows);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    apply(options());
  });
  find('#clip-files').before(form);
}

/** Fit the form to a clip: its people, its edit, and why the last one failed. */
export function show({ edit, tracks, problem, failed }) {
  field('what')[0].textContent = t('overlay');
  find('[data-takes=region]:has([data-field=who]) span', form).textContent = t('people');
  const { value } = field('who');
  field('who').replaceChildren(
    make('option', { value: '' }, t('everyone')),
    ...tracks.tracks.map(({ track_id: id }) => make('option', { value: id }, t('person', id))),
  );
  field('who').value = [...field('who').options].some((one) => one.value === value) ? value : '';
  const lines = [];
  if (failed) lines.push([problemText(failed.code)[0], 'wrong'], [failed.detail, 'faint', 'en']);
  else if (HIDING.includes(edit?.what) && !problem) lines.push([t('editCareful'), 'faint']);
  field('said').replaceChildren(
    ...lines.map(([text, className, lang = '']) => make('p', { className, lang }, text)),
  );
  rows();
}

function rows() {
  showRows(form, field('what').value, field('strength'));
}

/** Read the form: {what, options} of the job; what is "" for the overlay. */
function options() {
  const what = field('what').value;
  if (!what) return { what, options: {} };
  const { takes, option } = EDITS[what];
  const where = takes.includes('region') ? field('region').value : 'person';
  const region = field('who').value ? `${where}:${field('who').value}` : where;
  const [name, text] = option({ region, colour: field('colour').value });
  const strength = takes.includes('strength') ? { strength: 2 ** field('strength').value } : {};
  return { what, options: { [name]: text, ...strength } };
}
