// Where results come from: here the server, through /models, /parse and /readyz. Every failure
// becomes a Problem with the server's own code. In an exported site, where the results come from
// the browser, another module takes this one's place: export/web/page/static/js/api.js.

import { recall, remember } from './memory.js';
import { Problem } from './problem.js';

const PARSING = ['read', 'preprocess', 'network', 'postprocess', 'answer'];

/** What this source says in other words than strings.js; a server says nothing differently. */
export const texts = { en: {}, zh: {} };

// Another service below another path of this host has its own token.
const KEPT = `token ${new URL('.', document.baseURI).pathname}`;
let secret = recall(KEPT, 'sessionStorage');

export const token = () => secret;

/** Send this token with every request until the tab is closed. */
export function setToken(text) {
  secret = text;
  remember(KEPT, text, 'sessionStorage');
}

/** Fetch the list of models, the default first. */
export async function models() {
  return (await (await ask('models')).json()).models;
}

/** Ask how many requests are waiting at the server and for about how many seconds.
 *
 * Returns {queued, seconds}, or null if the server does not say.
 */
export async function waiting() {
  try {
    const ready = await (await fetch('readyz')).json();
    return { queued: ready.queued, seconds: ready.predicted_wait_s };
  } catch {
    return null;
  }
}

/** Send a picture.
 *
 * format: a format of /parse; "json" is the result that docs/json.md describes. onProgress: called
 * with the share that has been sent, 0 to 1.
 * Returns {done, abort}; done resolves to {body, times}: the response's Blob, and milliseconds by
 * stage.
 */
export function parse(file, { model = '', format = 'json', onProgress = () => {} } = {}) {
  const begun = performance.now();
  let sent = 0;
  const form = new FormData();
  form.append('image', file, 'image'); // the server ignores the name here
  const path = `parse?${new URLSearchParams({ format, ...(model && { model }) })}`;
  const { done, abort } = send(path, form, (share) => {
    if (share === 1) sent = performance.now() - begun;
    onProgress(share);
  });
  const parsed = done.then((request) => ({
    body: request.response,
    times: { upload: sent, ...serverTimes(request) },
  }));
  return { done: parsed, abort };
}

/** Send a form.
 *
 * onProgress: called with the share that has been sent, 0 to 1.
 * Returns {done, abort}; done resolves to the XMLHttpRequest, whose response is a Blob.
 */
export function send(path, form, onProgress) {
  const request = new XMLHttpRequest(); // fetch does not report how much has been sent
  const done = new Promise((resolve, reject) => {
    request.responseType = 'blob';
    request.upload.onprogress = (event) =>
      event.lengthComputable && onProgress(event.loaded / event.total);
    request.upload.onload = () => onProgress(1);
    request.onabort = () => reject(new Problem('cancelled'));
    request.onerror = () => reject(new Problem('network', '', { retryable: true }));
    request.onload = async () => {
      if (request.status < 300) resolve(request);
      else {
        const text = await request.response.text();
        reject(problemOf(request.status, text, (name) => request.getResponseHeader(name)));
      }
    };
    request.open('POST', path);
    for (const [name, value] of Object.entries(authorization()))
      request.setRequestHeader(name, value);
    request.send(form);
  });
  return { done, abort: () => request.abort() };
}

/** Let the server edit a picture.
 *
 * options: those of /v1/edit, such as {blur: 'face'}; signal: of an AbortController.
 * Returns {body, missing}: the edited photo's Blob, and in words of the server what was not found.
 */
export async function edit(file, options, signal) {
  const form = new FormData();
  form.append('image', file, 'image');
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  const answer = await ask('v1/edit', { method: 'POST', body: form, signal });
  const missing = JSON.parse(answer.headers.get('x-missing') || '[]');
  return { body: await answer.blob(), missing };
}

/** Fetch something of the server. Throws a Problem. */
export async function ask(path, request = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...request, headers: authorization() });
  } catch (error) {
    const cancelled = error.name === 'AbortError';
    throw new Problem(cancelled ? 'cancelled' : 'network', '', { retryable: !cancelled });
  }
  if (!answer.ok)
    throw problemOf(answer.status, await answer.text(), (name) => answer.headers.get(name));
  return answer;
}

function authorization() {
  return token() ? { Authorization: `Bearer ${token()}` } : {};
}

function problemOf(status, text, header) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy in between has responded in its own format.
  }
  const byStatus = {
    401: 'unauthorized',
    413: 'body_too_large',
    429: 'queue_full',
    503: 'not_ready',
    504: 'deadline_exceeded',
  };
  const code = body.code || byStatus[status] || (status < 500 ? 'bad_request' : 'internal_error');
  const seconds = parseInt(header('retry-after') || '', 10);
  const retryable = body.retryable ?? [429, 502, 503, 504].includes(status);
  return new Problem(code, body.detail || '', {
    retryable,
    retryAfter: seconds >= 0 ? seconds : null,
  });
}

/** Read {queue, parse} in ms from the Server-Timing header; parse is 0 for a cached result. */
function serverTimes(request) {
  const times = {};
  for (const entry of (request.getResponseHeader('server-timing') || '').split(',')) {
    const [name, ...values] = entry.split(';').map((piece) => piece.trim());
    const duration = values.find((value) => value.startsWith('dur='));
    if (duration) times[name] = parseFloat(duration.slice(4));
  }
  return {
    queue: times.queue || 0,
    parse: PARSING.reduce((sum, stage) => sum + (times[stage] || 0), 0),
    known: request.getResponseHeader('x-cache') === 'hit',
  };
}
