// The camera live: one frame after the other is parsed and drawn, and people keep their number from
// frame to frame. Loaded when it is first asked for.

import * as api from './api.js';
import { find } from './dom.js';
import { draw, newScene } from './draw.js';
import { decode } from './maps.js';
import { state } from './state.js';
import { problemText, t } from './strings.js';
import * as token from './token.js';

const LONG_SIDE = 640; // of the frames that are parsed, in pixels
const QUALITY = 0.85; // of the JPEGs that are sent
const OVERLAP = 0.2; // the least overlap of a person's box with where they were
const REMEMBER_MS = 2000; // how long the number of somebody who is missed is kept for them
const PAUSE_MS = 1000; // before a busy server is asked again, if it does not say when
const WAIT_MS = 50; // for a camera that has no frame yet

const video = find('#video');
const canvas = find('#live-view');
let running = null; // {stopped, abort}: the view that runs

/** Parse and show what the camera sees until `stop` is called. */
export async function run() {
  stop();
  const mine = { stopped: false, abort: () => {} };
  running = mine;
  const number = newFollower();
  let rate = 0; // frames a second, evened out
  while (!mine.stopped) {
    const begun = performance.now();
    try {
      if (!(await step(mine, number))) continue;
    } catch (problem) {
      if (!mine.stopped) await afterProblem(problem);
      continue;
    }
    const now = 1000 / (performance.now() - begun);
    rate = rate ? rate + (now - rate) / 5 : now;
    if (!mine.stopped) find('#live-said').textContent = t('liveRate', rate.toFixed(1));
  }
}

export function stop() {
  if (running) running.stopped = true;
  running?.abort();
  running = null;
  canvas.hidden = true;
  find('#live-said').textContent = '';
}

/** Parse a frame and draw it; false if there was none. */
async function step(mine, number) {
  const frame = newest();
  if (!frame) {
    await pause(WAIT_MS);
    return false;
  }
  const file = await frame.convertToBlob({ type: 'image/jpeg', quality: QUALITY });
  const { done, abort } = api.parse(file, { model: state.model });
  mine.abort = abort;
  const result = JSON.parse(await (await done).body.text());
  if (mine.stopped) return false;
  const numbers = number(result.people, performance.now());
  const { palettes } = state.models.find(({ name }) => name === result.model) || state.models[0];
  show(newScene(result, frame, decode(result), palettes.clear, numbers));
  return true;
}

/** Return the camera's picture of this moment as a canvas; null if there is none yet. */
function newest() {
  const { videoWidth: width, videoHeight: height } = video;
  if (!width) return null;
  const scale = Math.min(1, LONG_SIDE / Math.max(width, height));
  const frame = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
  frame.getContext('2d').drawImage(video, 0, 0, frame.width, frame.height);
  return frame;
}

function show(scene) {
  const { width, height } = scene.result;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const look = {
    mode: 'overlay',
    opacity: state.opacity,
    colourBy: 'part',
    picture: { off: new Set(), solo: 0 },
  };
  draw(canvas.getContext('2d'), scene, look, width / LONG_SIDE);
  canvas.hidden = false;
}

/** Wait for a server that is busy; stop, and say why, after any other problem. */
async function afterProblem({ code, retryable, retryAfter }) {
  if (retryable) {
    find('#live-said').textContent = problemText(code)[0];
    await pause(retryAfter === null ? PAUSE_MS : 1000 * retryAfter);
    return;
  }
  stop();
  find('#live-said').textContent = problemText(code || 'internal_error')[0];
  if (code === 'unauthorized') token.ask();
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Return what numbers people: (people of the next frame, time in ms) → their numbers, from 1.
 *
 * Whoever overlaps most with where somebody was last is them.
 */
export function newFollower() {
  let tracks = []; // {number, box, seen}
  let last = 0;
  let before = 0; // when the frame before was taken in
  return (people, now) => {
    // however slow the frames are, those of the one before are known
    tracks = tracks.filter(({ seen }) => seen === before || now - seen < REMEMBER_MS);
    before = now;
    const pairs = tracks
      .flatMap((track) =>
        people.map(({ box }, index) => ({ track, index, worth: overlap(track.box, box) })),
      )
      .filter(({ worth }) => worth >= OVERLAP)
      .toSorted((one, other) => other.worth - one.worth);
    const found = new Map(); // index of a person → track
    const taken = new Set();
    for (const { track, index } of pairs) {
      if (found.has(index) || taken.has(track)) continue;
      found.set(index, track);
      taken.add(track);
    }
    return people.map(({ box }, index) => {
      const track = found.get(index) || { number: ++last };
      if (!found.has(index)) tracks.push(track);
      return Object.assign(track, { box, seen: now }).number;
    });
  };
}

/** The intersection of two boxes (left, top, right, bottom) over their union. */
function overlap(one, other) {
  const wide = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const high = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  if (wide <= 0 || high <= 0) return 0;
  const both = wide * high;
  return both / (area(one) + area(other) - both);
}

const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
