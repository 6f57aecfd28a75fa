// Sends the pictures that wait, two at a time, and puts answers and problems into them.

import * as api from './api.js';
import { change, state } from './state.js';
import { shrunk } from './photos.js';

const AT_A_TIME = 2;
const TRIES_BY_ITSELF = 5;
const BY_ITSELF = ['queue_full', 'too_many_connections', 'not_ready', 'shutting_down', 'worker_crashed'];
const SHRINKABLE = ['body_too_large', 'image_too_large'];

const limits = JSON.parse(document.querySelector('meta[name=limits]').content);
let onDone = () => {};
let onToken = () => {};
let onModels = () => {};

/** done(picture): an answer has come. token(): the server wants one. models(): ask for them; throws the Problem. */
export function start({ done, token, models }) {
  onDone = done;
  onToken = token;
  onModels = models;
}

/** Send what waits, if there is room. */
export function pump() {
  const busy = state.pictures.filter((picture) => ['sending', 'parsing'].includes(picture.status)).length;
  const next = state.pictures.filter((picture) => picture.status === 'waiting').slice(0, AT_A_TIME - busy);
  for (const picture of next) send(picture);
  change();
}

export function cancel(picture) {
  clearTimeout(picture.timer);
  picture.retryAt = 0;
  if (picture.status === 'waiting') fail(picture, new api.Problem('cancelled'));
  picture.abort();
  pump();
}

export function retry(picture) {
  clearTimeout(picture.timer);
  Object.assign(picture, { status: 'waiting', problem: null, retryAt: 0 });
  pump();
}

/** Whether a smaller copy would mend the picture's problem. */
export const canShrink = (picture) => SHRINKABLE.includes(picture.problem?.code) && picture.photo !== null;

/** Replace the picture by a smaller copy and try again. */
export async function shrinkAndRetry(picture) {
  const { maxBytes, maxPixels } = bounds();
  const file = await shrunk(picture.file, { maxBytes, maxPixels });
  if (!file) return;
  Object.assign(picture, { file, photo: undefined, reading: null });
  retry(picture);
}

const bounds = () => ({ maxBytes: limits.max_body_mb * 1e6 - 2000, maxPixels: limits.max_megapixels * 1e6 });

async function send(picture) {
  let aborted = false;
  const abortEarly = () => {
    aborted = true;
  };
  Object.assign(picture, { status: 'sending', progress: 0, ahead: null, abort: abortEarly });
  try {
    checkSize(picture);
    if (!state.models.length) await onModels();
    if (aborted) throw new api.Problem('cancelled');
    const model = state.models.find((one) => one.name === state.model) || state.models[0];
    const { done, abort } = api.parse(picture.file, {
      model: model.name,
      onProgress: (share) => progress(picture, share),
    });
    picture.abort = abort;
    const { body, times } = await done;
    Object.assign(picture, { result: await read(body), model, times, tries: 0, status: 'done' });
    await onDone(picture);
  } catch (error) {
    fail(picture, error instanceof api.Problem ? error : new api.Problem('bad_answer', String(error)));
  } finally {
    picture.abort = () => {};
    pump();
  }
}

/** What is sure to be refused is not sent at all. */
function checkSize({ file }) {
  const { maxBytes } = bounds();
  if (file.size > maxBytes) {
    const [size, most] = [file.size, maxBytes].map((bytes) => `${(bytes / 1e6).toFixed(1)} MB`);
    throw new api.Problem('body_too_large', `the file has ${size}; the limit is ${most}`);
  }
}

async function read(body) {
  const result = JSON.parse(await body.text());
  const whole = result.width && result.height && result.people && result.loose_parts;
  if (!whole) throw new Error('the answer is not a result');
  return result;
}

/** Note how much of a picture was sent. */
export function progress(picture, share) {
  picture.progress = share;
  if (share === 1 && picture.status === 'sending') {
    picture.status = 'parsing';
    watchQueue(picture);
  }
  change();
}

/** While an answer is awaited, ask every second how long the queue is. */
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
  if (BY_ITSELF.includes(problem.code) && picture.tries < TRIES_BY_ITSELF) {
    picture.tries += 1;
    const seconds = Math.min(60, Math.max(problem.retryAfter ?? 2 * picture.tries, 1));
    picture.retryAt = Date.now() + 1000 * seconds;
    picture.timer = setTimeout(() => retry(picture), 1000 * seconds);
  }
}
