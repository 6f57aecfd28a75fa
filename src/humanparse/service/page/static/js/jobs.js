// A clip on its way through the server: it is sent as a job, the job's events are followed, and its
// results are fetched. Then the job is deleted, so that nothing stays on the server.

import * as api from './api.js'; // an exported site has another one, without `ask` and `send`
import { served } from './dom.js';
import { Problem } from './problem.js';
import { change, state } from './state.js';

const ENDED = ['done', 'failed', 'cancelled'];
const PAUSE_MS = 1000; // before a connection that was interrupted is made again

const limits = JSON.parse(document.querySelector('meta[name=limits]').content);

/** Whether clips can be parsed here. */
export const takesClips = served && limits.video_workers > 0;

/** Return a clip that is waiting to be sent; edit: which one, and the job's options for it. */
export const newClip = (file, edit = { what: '', options: {} }) => ({
  file,
  edit,
  name: file.name,
  url: URL.createObjectURL(file),
  status: 'sending', // sending, waiting, parsing, opening, done, failed or cancelled
  progress: 0, // of sending, 0 to 1
  frames: null, // {done, total}: how much is parsed
  begun: 0, // when parsing began, as performance.now() counts
  problem: null, // why it failed, or why the results end early
  results: [], // {name, url} of each file
  tracks: null, // the summary that docs/video.md describes
  abort: () => {},
});

/** Have a clip parsed. */
export async function run(clip) {
  Object.assign(clip, { status: 'sending', progress: 0, frames: null, begun: 0, problem: null });
  change();
  let job = null;
  try {
    checkSize(clip);
    job = await sent(clip);
    await follow(clip, job);
    await take(clip, job);
    clip.status = 'done';
  } catch (error) {
    clip.problem = error instanceof Problem ? error : new Problem('bad_answer', String(error));
    clip.status = clip.problem.code === 'cancelled' ? 'cancelled' : 'failed';
  }
  clip.abort = () => {};
  if (job) api.ask(job.links.self, { method: 'DELETE', keepalive: true }).catch(() => {});
  change();
}

/** Throw a Problem for a file that the server would refuse anyway. */
function checkSize({ file }) {
  if (file.size > limits.video_max_mb * 1e6 - 2000) {
    const size = `${(file.size / 1e6).toFixed(1)} MB`;
    throw new Problem(
      'video_too_large',
      `the file has ${size}; the limit is ${limits.video_max_mb} MB`,
    );
  }
}

async function sent(clip) {
  const form = new FormData();
  if (state.model) form.append('model', state.model);
  for (const [name, text] of Object.entries(clip.edit.options)) form.append(name, text);
  form.append('video', clip.file, clip.name);
  const { done, abort } = api.send('v1/jobs', form, (share) => {
    Object.assign(clip, { progress: share, status: share === 1 ? 'waiting' : 'sending' });
    change();
  });
  clip.abort = abort;
  return JSON.parse(await (await done).response.text());
}

/** Follow the job's events until it has ended, also over interruptions. */
async function follow(clip, job) {
  const stop = new AbortController();
  clip.abort = () => stop.abort();
  let shown = job;
  while (!ENDED.includes(shown.state)) {
    try {
      for await (shown of events(job, stop.signal)) note(clip, shown);
    } catch (error) {
      if (error instanceof Problem && error.code !== 'network' && !stop.signal.aborted) throw error;
    }
    if (stop.signal.aborted) throw new Problem('cancelled');
    if (!ENDED.includes(shown.state)) await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
  if (shown.state !== 'done')
    throw new Problem(shown.problem?.code || 'cancelled', shown.problem?.detail);
}

function note(clip, job) {
  clip.frames = job.frames;
  clip.status = job.state === 'queued' ? 'waiting' : 'parsing';
  if (job.frames && !clip.begun) clip.begun = performance.now();
  change();
}

/** Yield the job after each of its changes. */
async function* events(job, signal) {
  const answer = await api.ask(job.links.events, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const whole = (text + piece.value).split('\n\n');
    text = whole.pop();
    for (const event of whole) {
      const data = event.match(/^data: (.*)$/m);
      if (data) yield JSON.parse(data[1]);
    }
  }
}

/** Fetch the results of a job. */
async function take(clip, job) {
  clip.status = 'opening';
  change();
  const lines = (await (await api.ask(job.links.results)).text()).trim().split('\n');
  for (const { index, source, problem } of lines.map((line) => JSON.parse(line))) {
    if (problem) {
      clip.problem = new Problem(problem.code, problem.detail);
      continue;
    }
    const blob = await (await api.ask(`${job.links.results}/${index}`)).blob();
    clip.results.push({ name: source.split('/').pop(), url: URL.createObjectURL(blob) });
    if (source.endsWith('.tracks.json')) clip.tracks = JSON.parse(await blob.text());
  }
}

/** Release what a clip holds, and end its job. */
export function forget(clip) {
  clip.abort();
  for (const { url } of [clip, ...clip.results]) URL.revokeObjectURL(url);
}
