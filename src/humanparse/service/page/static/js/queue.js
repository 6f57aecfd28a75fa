// Sends the waiting pictures, two at a time, and stores their results and problems in them.

import * as api from './api.js';
import { shrunk } from './photos.js';
import { Problem } from './problem.js';
import { change, state } from './state.js';

const MAX_CONCURRENT = 2;
const MAX_RETRIES = 5; // automatic ones
const RETRIED = [
  'queue_full',
  'too_many_connections',
  'not_ready',
  'shutting_down',
  'worker_crashed',
];
const SHRINKABLE = ['body_too_large', 'image_too_large'];

const limits = JSON.parse(document.querySelector('meta[name=limits]').content);
let onDone = () => {};
let onToken = () => {};
let onModels = () => {};

/** Set what to call. done(picture): a result has come; token(): the server wants a token; models():
 * fetches the models and throws a Problem.
 */
export function start({ done, token, models }) {
  onDone = done;
  onToken = token;
  onModels = models;
}

/** Send waiting pictures if there is room. */
export function pump() {
  const busy = state.pictures.filter((picture) =>
    ['sending', 'parsing'].includes(picture.status),
  ).length;
  const next = state.pictures
    .filter((picture) => picture.status === 'waiting')
    .slice(0, MAX_CONCURRENT - busy);
  for (const picture of next) send(picture);
  change();
}

export function cancel(picture) {
  clearTimeout(picture.timer);
  picture.retryAt = 0;
  if (picture.status === 'waiting') fail(picture, new Problem('cancelled'));
  picture.abort();
  pump();
}

export function retry(picture) {
  clearTimeout(picture.timer);
  Object.assign(picture, { status: 'waiting', problem: null, retryAt: 0 });
  pump();
}

/** Whether a smaller copy would solve the picture's problem. */
export const canShrink = (picture) =>
  SHRINKABLE.includes(picture.problem?.code) && picture.photo !== null;

/** Replace the picture with a smaller copy and try again. */
export async function shrinkAndRetry(picture) {
  const { maxBytes, maxPixels } = bounds();
  const file = await shrunk(picture.file, { maxBytes, maxPixels });
  if (!file) return;
  Object.assign(picture, { file, photo: undefined, reading: null });
  retry(picture);
}

const bounds = () => ({
  maxBytes: limits.max_body_mb * 1e6 - 2000,
  maxPixels: limits.max_megapixels * 1e6,
});

async function send(picture) {
  let aborted = false;
  const abortEarly = () => {
    aborted = true;
  };
  Object.assign(picture, { status: 'sending', progress: 0, ahead: null, abort: abortEarly });
  try {
    checkSize(picture);
    if (!state.models.length) await onModels();
    if (aborted) throw new Problem('cancelled');
    const model = state.models.find((one) => one.name === state.model) || state.models[0];
    const { done, abort } = api.parse(picture.file, {
      model: model.name,
      onProgress: (share) => progress(picture, share),
    });
    picture.abort = abort;
    const { body, times, original = null } = await done;
    const result = await read(body);
    Object.assign(picture, { result, original, model, times, tries: 0, status: 'done' });
    await onDone(picture);
  } catch (error) {
    fail(picture, error instanceof Problem ? error : new Problem('bad_answer', String(error)));
  } finally {
    picture.abort = () => {};
    pump();
  }
}

/** Throw a Problem for a file that the server would refuse anyway. */
function checkSize({ file }) {
  const { maxBytes } = bounds();
  if (file.size > maxBytes) {
    const [size, most] = [file.size, maxBytes].map((bytes) => `${(bytes / 1e6).toFixed(1)} MB`);
    throw new Problem('body_too_large', `the file has ${size}; the limit is ${most}`);
  }
}

async function read(body) {
  const result = JSON.parse(await body.text());
  const whole = result.width && result.height && result.people && result.loose_parts;
  if (!whole) throw new Error('the answer is not a result');
  return result;
}

/** Record how much of a picture has been sent. */
export function progress(picture, share) {
  picture.progress = share;
  if (share === 1 && picture.status === 'sending') {
    picture.status = 'parsing';
    watchQueue(picture);
  }
  change();
}

/** Ask every second how long the queue is until the result comes. */
async function watchQueue(picture) {
  const pause = () => new Promise((done) => setTimeout(done, 1000));
  for (await pause(); picture.status === 'parsing'; await pause()) {
    picture.ahead = await api.waiting();
    change();
  }
}

function fail(picture, problem) {
  const status = problem.code === 'cancelled' ? 'cancelled' : 'failed';
  Object.assign(picture, { status, problem, result: null, scene: null });
  if (problem.code === 'unauthorized') onToken();
  if (problem.code === 'unknown_model') onModels().catch(() => {});
  if (RETRIED.includes(problem.code) && picture.tries < MAX_RETRIES) {
    picture.tries += 1;
    const seconds = Math.min(60, Math.max(problem.retryAfter ?? 2 * picture.tries, 1));
    picture.retryAt = Date.now() + 1000 * seconds;
    picture.timer = setTimeout(() => retry(picture), 1000 * seconds);
  }
}
