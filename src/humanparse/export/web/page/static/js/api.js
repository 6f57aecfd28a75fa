// Where results come from: here humanparse.js, which runs the model in this browser. Takes the
// place of the page's own api.js, which asks a server, and has the same functions but edit.

import { HumanParser } from '../../humanparse.js';
import { kept } from './offline.js';
import { Problem } from './problem.js';
import { change } from './state.js';

export { texts } from './texts.js';

const CODES = { download_failed: 'network' }; // of humanparse.js, where the page has another word

let loading = null; // the promise of the parser
let share = 0; // of the model and the runtime that is here
const watching = new Set(); // called with the share
let turn = Promise.resolve(); // the end of the parses that have been asked for

/** Without a server there are no tokens. */
export const token = () => '';
export const setToken = () => {};

/** Without a server there is no queue to ask about. */
export const waiting = async () => null;

/** Fetch the description of the model, as a server lists it, and begin to load the model. */
export async function models() {
  let answer;
  try {
    answer = await fetch('model.json');
  } catch {
    throw new Problem('network', '', { retryable: true });
  }
  if (!answer.ok) throw new Problem('network', `model.json: ${answer.status}`, { retryable: true });
  parser().catch(() => {}); // the first photo tells, and tries again
  return [await answer.json()];
}

/** Parse a picture.
 *
 * onProgress: called with the share of the model that is here, and with 1 when parsing begins.
 * Returns {done, abort}; done resolves to {body, times, original}: the result that docs/json.md
 * describes, as a Blob; milliseconds by stage; and {width, height} of a photo that was shrunk.
 */
export function parse(file, { format = 'json', onProgress = () => {} } = {}) {
  let abort;
  let aborted = false;
  const cancelled = new Promise((_, reject) => {
    abort = () => {
      aborted = true;
      reject(new Problem('cancelled'));
    };
  });
  const done = Promise.race([cancelled, result(file, format, onProgress, () => aborted)]);
  return { done, abort };
}

async function result(file, format, onProgress, isAborted) {
  // only servers draw pictures of photos that a browser cannot read
  if (format !== 'json') throw new Problem('bad_request', `there is no server to draw ${format}`);
  const begun = performance.now();
  const early = (loaded) => onProgress(Math.min(loaded, 0.99));
  watching.add(early);
  early(share);
  const ready = await parser().finally(() => watching.delete(early));
  onProgress(1);
  return inTurn(async () => {
    if (isAborted()) throw new Problem('cancelled');
    const started = performance.now();
    const parsing = await ready.parse(file).catch(raise);
    const times = { queue: started - begun, parse: performance.now() - started };
    const body = new Blob([JSON.stringify(parsing.toJSON())], { type: 'application/json' });
    const isShrunk = parsing.original.width !== parsing.width;
    return { body, times, original: isShrunk ? parsing.original : null };
  });
}

/** Run a task when those before it have ended, one at a time. */
function inTurn(task) {
  const mine = turn.then(task);
  turn = mine.catch(() => {});
  return mine;
}

/** Return the parser, which is loaded once; after a failure, the next call tries again. */
function parser() {
  loading ??= load().catch((error) => {
    loading = null;
    tell(null);
    raise(error);
  });
  return loading;
}

async function load() {
  tell(0);
  await kept();
  const loaded = await HumanParser.load({
    onProgress: (progress) => tell(progress.loaded / progress.total),
  });
  tell(null);
  return loaded;
}

/** Tell the page, and the photos that wait, what share is here; null when nothing is loading. */
function tell(now) {
  share = now ?? 0;
  change({ loading: now });
  for (const watcher of watching) watcher(share);
}

/** Throw a Problem for an error of humanparse.js. */
function raise(error) {
  if (error instanceof Problem) throw error;
  const code = CODES[error.code] || error.code || 'internal_error';
  const retryable = ['network', 'broken_model'].includes(code);
  throw new Problem(code, error.message || String(error), { retryable });
}
