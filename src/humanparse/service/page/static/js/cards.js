// The cards over the stage while there is no result: progress with a cancel button, or what went
// wrong.

import { find, icon, make } from './dom.js';
import { canShrink, cancel, retry, shrinkAndRetry } from './queue.js';
import { change, state } from './state.js';
import { percent, problemText, t } from './strings.js';
import { choose } from './upload.js';

// problems after which another try may work although the server does not call them retryable
const MAY_WORK = ['cancelled', 'unauthorized', 'bad_answer', 'internal_error', 'unknown_model'];

let shown = '';
let ticking = 0;

export function start() {
  find('#cancel').addEventListener('click', () => cancel(state.current));
  document.addEventListener('keydown', (event) => {
    const busy = state.current && ['waiting', 'sending', 'parsing'].includes(state.current.status);
    if (event.key === 'Escape' && !find('dialog[open]') && (busy || state.current?.retryAt))
      cancel(state.current);
  });
}

export function show() {
  const picture = state.current;
  showProgress(picture);
  showProblem(picture);
  find('#note').hidden = state.mode === 'edited' || !(picture?.scene && !picture.scene.photo);
}

/** Return the current step in words. */
export function progressText(picture) {
  if (picture.status === 'sending') return t('sending', percent(picture.progress));
  if (picture.status === 'parsing' && picture.ahead?.queued)
    return t('queued', Math.ceil(picture.ahead.seconds));
  return t(
    { parsing: 'parsing', done: 'opening', cancelled: 'cancelled' }[picture.status] || 'waiting',
  );
}

function showProgress(picture) {
  const busy =
    picture &&
    (['waiting', 'sending', 'parsing'].includes(picture.status) ||
      (picture.status === 'done' && !picture.scene));
  if (!busy && find('#cancel') === document.activeElement) find('#stage').focus();
  find('#progress').hidden = !busy;
  find('#stage').classList.toggle('busy', Boolean(busy));
  find('#stage').setAttribute('aria-busy', Boolean(busy));
  if (!busy) return;
  find('#progress-text').textContent = progressText(picture);
  const bar = find('#progress-bar');
  if (picture.status === 'sending' && picture.progress > 0) bar.value = picture.progress;
  else bar.removeAttribute('value');
}

function showProblem(picture) {
  const card = find('#problem');
  const wrong = picture && ['failed', 'cancelled'].includes(picture.status);
  // the button that has the focus is about to go
  if (!wrong && card.contains(document.activeElement)) find('#stage').focus();
  card.hidden = !wrong;
  find('#stage').classList.toggle('wrong', Boolean(wrong));
  if (!wrong) {
    shown = '';
    return;
  }
  const key = `${picture.id} ${picture.problem.code} ${picture.problem.detail} ${t('again')}`;
  if (key !== shown) fill(card, picture);
  shown = key;
  tick();
}

function fill(card, picture) {
  const { code, detail } = picture.problem;
  const [title, advice] = code === 'cancelled' ? [t('cancelled'), ''] : problemText(code);
  const buttons = make('div', { className: 'row' });
  if (canShrink(picture))
    buttons.append(button(t('shrink'), 'main', () => shrinkAndRetry(picture)));
  else if (picture.problem.retryable || MAY_WORK.includes(code)) {
    buttons.append(button(t('again'), 'main again', () => retry(picture)));
  }
  buttons.append(button(t('other'), '', choose));
  card.replaceChildren(
    make('h2', {}, icon(code === 'cancelled' ? 'close' : 'alert'), title),
    ...(advice ? [make('p', {}, advice)] : []),
    ...(detail
      ? [
          make(
            'details',
            {},
            make('summary', {}, t('details')),
            make('p', { className: 'detail', lang: 'en' }, detail),
          ),
        ]
      : []),
    buttons,
  );
}

function button(text, kind, onclick) {
  return make('button', { type: 'button', className: `button ${kind}`, onclick }, text);
}

/** Count down on the button until the picture is sent again automatically. */
function tick() {
  clearTimeout(ticking);
  const again = find('#problem .again');
  const picture = state.current;
  if (!again || !picture) return;
  const seconds = Math.ceil((picture.retryAt - Date.now()) / 1000);
  again.textContent = seconds > 0 ? t('againIn', seconds) : t('again');
  if (seconds > 0) ticking = setTimeout(() => change(), 250);
}
