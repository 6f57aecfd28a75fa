// A clip on the page: its progress, then the clip and its overlay in step, its people and when each
// of them is visible, and its files. Loaded with the first clip.

import * as clipedit from './clipedit.js';
import { css, find, icon, make } from './dom.js';
import { personColour } from './draw.js';
import * as jobs from './jobs.js';
import { change, state } from './state.js';
import { currentLanguage, labelName, percent, problemText, t } from './strings.js';
import { announce } from './voice.js';

const IN_STEP_S = 0.08; // how far the original may be from the overlay
const OWN_WORDS = ['not_a_video', 'broken_video', 'video_too_large', 'network', 'unauthorized'];
const FILES = {
  'overlay.webm': ['fileClip', 'WebM'],
  'edited.webm': ['edited', 'WebM'],
  jsonl: ['fileFrames', 'JSONL'],
  'tracks.json': ['fileTracks', 'JSON'],
};

const overlay = find('#clip-overlay'); // which every browser plays: the server wrote it
const original = find('#clip-original');
let shown = '';

/** onToken(): called when the server wants a token. */
export function start(onToken) {
  document.head.append(make('link', { rel: 'stylesheet', href: 'static/clip.css' }));
  find('#clip-close').addEventListener('click', close);
  find('#clip-cancel').addEventListener('click', () => state.clip.abort());
  find('#clip-again').addEventListener('click', () => run(onToken));
  find('#clip-views').addEventListener('change', (event) => {
    find('#clip-screens').dataset.view = event.target.value;
  });
  startPlayer();
  clipedit.start((edit) => apply(edit, onToken));
  find('#clip').addEventListener('keydown', (event) => {
    if (event.key === 'Escape') state.clip?.abort();
  });
}

/** Have a clip parsed, and show it. */
export function open(file, onToken) {
  state.clip = jobs.newClip(file);
  run(onToken);
  find('#clip-close').focus();
}

export async function run(onToken) {
  const { clip } = state;
  await jobs.run(clip);
  if (clip === state.clip && clip.problem?.code === 'unauthorized') onToken();
}

/** Have the clip parsed once more, with an edit; if that fails, what was there is shown again. */
async function apply(edit, onToken) {
  const before = state.clip;
  const clip = jobs.newClip(before.file, edit);
  overlay.pause();
  change({ clip });
  await run(onToken);
  if (clip !== state.clip) return jobs.forget(before); // it was closed
  if (clip.status === 'done') return jobs.forget(before);
  before.failed = clip.problem.code === 'cancelled' ? null : clip.problem;
  jobs.forget(clip);
  change({ clip: before });
}

function close() {
  for (const video of [overlay, original]) {
    video.pause();
    video.removeAttribute('src');
    video.load();
  }
  jobs.forget(state.clip);
  change({ clip: null });
  find('#choose').focus();
}

export function show() {
  const { clip } = state;
  find('#clip').hidden = !clip;
  if (!clip) {
    shown = '';
    return;
  }
  const done = clip.status === 'done';
  const over = ['done', 'failed', 'cancelled'].includes(clip.status);
  find('#clip-name').textContent = clip.name;
  find('#clip-progress').hidden = over;
  find('#clip-problem').hidden = !clip.problem;
  find('#clip-again').hidden = done;
  find('#clip-result').hidden = find('#clip-views').hidden = !done;
  if (!over) progress(clip);
  if (clip.problem) problem(clip);
  const why = clip.failed?.code || '';
  const key = (done ? `${clip.url} ${why}` : clip.status) + currentLanguage();
  if (key !== shown && done) result(clip);
  if (key !== shown) announce(`${clip.name}: ${done ? foundText(clip) : words(clip)}`);
  shown = key;
}

// On the way

function words({ status, progress: share, problem: why }) {
  if (status === 'sending') return t('sending', percent(share));
  if (status === 'cancelled') return t('cancelled');
  if (status === 'failed') return problemText(why.code)[0];
  return t({ waiting: 'waiting', parsing: 'parsing' }[status] || 'opening');
}

function progress(clip) {
  const { done, total } = clip.frames || {};
  const bar = find('#clip-bar');
  const share =
    clip.status === 'sending' ? clip.progress : clip.status === 'parsing' && done / total;
  if (share > 0) bar.value = share;
  else bar.removeAttribute('value');
  const texts = [words(clip)];
  if (clip.status === 'parsing' && done !== undefined) {
    texts.push(total ? t('framesOf', done, total) : t('frames', done));
    const passed = (performance.now() - clip.begun) / 1000;
    if (total && done && passed > 2)
      texts.push(t('left', Math.ceil((passed * (total - done)) / done)));
  }
  find('#clip-state').textContent = texts.join(' ');
}

function problem({ status, problem: { code, detail } }) {
  const [title, advice] = code === 'cancelled' ? [t('cancelled'), ''] : problemText(code);
  find('#clip-wrong').textContent = status === 'done' ? t('endsEarly') : title;
  find('#clip-advice').textContent = OWN_WORDS.includes(code) ? advice : '';
  find('#clip-detail').textContent = detail === code ? '' : detail;
}

// The result

const foundText = ({ tracks }) =>
  tracks.tracks.length ? t('peopleInClip', tracks.tracks.length) : t('nobody');

function result(clip) {
  if (overlay.src !== clip.results[0].url) {
    overlay.src = clip.results[0].url;
    original.src = clip.url;
    find('#clip-screens').classList.remove('alone');
  }
  const what = clip.edit.what ? 'edited' : 'overlay';
  for (const element of document.querySelectorAll('.of-drawn'))
    Object.assign(element, { textContent: t(what) }).dataset.t = what;
  clipedit.show(clip);
  find('#clip-found').textContent = foundText(clip);
  find('#clip-people').replaceChildren(
    ...clip.tracks.tracks.map((track) => row(track, clip.tracks)),
  );
  find('#clip-files').replaceChildren(...clip.results.map(link));
}

/** A person: a chip, and a strip with the times at which they are visible. */
function row(track, { seconds: length }) {
  const dot = make('span', { className: 'dot' });
  dot.style.background = css(personColour(track.track_id));
  const worn = track.garments.map(({ label }) => labelName(label)).join(', ');
  const name = t('person', track.track_id);
  const chip = make(
    'button',
    { type: 'button', className: 'chip', title: worn, onclick: () => seek(track.from) },
    dot,
    `${track.track_id}`,
    make('span', { className: 'worn' }, worn),
  );
  const times = track.seen.map(([from, to]) => `${clock(from)}–${clock(to)}`).join(', ');
  chip.setAttribute('aria-label', `${name}. ${worn}. ${t('visible', times)}`);
  const strip = make('div', { className: 'seen', title: times, 'aria-hidden': 'true' });
  for (const [from, to] of track.seen) {
    const span = make('i');
    span.style.left = `min(${(100 * from) / (length || 1)}%, 100% - 3px)`; // however short it is
    span.style.width = `${(100 * (to - from)) / (length || 1)}%`;
    span.style.background = dot.style.background;
    strip.append(span);
  }
  strip.addEventListener('click', (event) => {
    const box = strip.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * length);
  });
  return make('li', { 'data-track': track.track_id }, chip, strip);
}

function link({ name, url }) {
  const [title, kind] = Object.entries(FILES).find(([ending]) => name.endsWith(`.${ending}`))[1];
  return make(
    'a',
    {
      className: 'button small',
      href: url,
      download: name,
      'aria-label': t('download', t(title), kind),
    },
    icon('save'),
    t(title),
  );
}

// The player: the overlay leads, and the original keeps in step

function startPlayer() {
  const time = find('#clip-time');
  find('#clip-play').addEventListener('click', () =>
    overlay.paused ? overlay.play() : overlay.pause(),
  );
  time.addEventListener('input', () => seek(Number(time.value)));
  overlay.addEventListener('play', () => original.play().catch(() => {}));
  overlay.addEventListener('pause', () => original.pause());
  for (const event of [
    'play',
    'pause',
    'timeupdate',
    'seeking',
    'loadedmetadata',
    'durationchange',
  ])
    overlay.addEventListener(event, follow);
  original.addEventListener('loadedmetadata', follow);
  // what this browser cannot play is only seen with its overlay
  original.addEventListener('error', () => find('#clip-screens').classList.add('alone'));
}

function seek(seconds) {
  overlay.currentTime = seconds;
}

function follow() {
  const length = Number.isFinite(overlay.duration) ? overlay.duration : 0;
  const played = length ? overlay.currentTime / length : 0;
  const time = find('#clip-time');
  if (Math.abs(original.currentTime - overlay.currentTime) > IN_STEP_S)
    original.currentTime = overlay.currentTime;
  Object.assign(time, { max: length, value: overlay.currentTime });
  time.style.setProperty('--filled', played);
  find('#clip-clock').textContent = `${clock(overlay.currentTime)} / ${clock(length)}`;
  find('#clip-play').setAttribute('aria-pressed', !overlay.paused);
  find('#clip-people').style.setProperty('--played', played);
}

/** "1:05.2" for 65.2 seconds. */
function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, '0');
  return `${Math.floor(tenths / 600)}:${rest}`;
}
