// humanparse in the browser: the people in a photo, their body parts and garments. Nothing is sent
// anywhere.
//
//     import { HumanParser } from './humanparse.js';
//     const parser = await HumanParser.load();
//     const parsing = await parser.parse(file);
//
// The work is done in a worker (worker.js), so that the page stays responsive. docs/web-library.md
// describes the results; they have the names that they have in Python.

// A module with one SIMD instruction, which browsers without SIMD refuse.
const SIMD = [
  [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0],
  [65, 0, 253, 15, 253, 98, 11],
];

/** An error that is raised on purpose.
 *
 * code: a stable word, that of the HTTP API or of Python where they have one: not_an_image,
 * broken_image, bad_option, broken_model, download_failed, internal_error; and unsupported_browser
 * and closed.
 */
export class HumanParseError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'HumanParseError';
    this.code = code;
  }
}

/** Finds the people in photos; made by `HumanParser.load`. */
export class HumanParser {
  #worker;
  #waiting = new Map(); // number of the task → what to do with its answer
  #tasks = 0;

  /** Load the model and the runtime.
   *
   * base: the folder with model.json and model.onnx.gz, as seen from the page; by default that of
   * this file.
   * threads: for the network; by default one for each core, at most 4, where the page is
   * cross-origin isolated, and one elsewhere.
   * onProgress: called with {loaded, total, what}: bytes, of all that is loaded, and "runtime" or
   * "model".
   * Rejects with HumanParseError: unsupported_browser, download_failed, broken_model, bad_option.
   */
  static async load({ base, threads = usualThreads(), onProgress = () => {} } = {}) {
    if (!(Number.isInteger(threads) && threads >= 1))
      throw new HumanParseError('bad_option', `threads is ${threads}; give a whole number from 1`);
    refuseOldBrowsers();
    const folder = base
      ? new URL(`${base}`.replace(/\/*$/, '/'), document.baseURI).href
      : new URL('.', import.meta.url).href;
    const parser = new HumanParser();
    parser.#worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
    parser.#worker.onmessage = ({ data }) => parser.#receive(data);
    parser.#worker.onerror = (event) => {
      event.preventDefault?.();
      const why = event.message || 'one of its files could not be loaded';
      parser.#stop(new HumanParseError('download_failed', `the worker did not start: ${why}`));
    };
    try {
      Object.assign(parser, await parser.#ask({ load: folder, threads }, onProgress));
    } catch (error) {
      parser.close();
      throw error;
    }
    return parser;
  }

  /** Parse one photo; several are parsed one after the other.
   *
   * source: Blob, File, ImageBitmap or ImageData.
   * Rejects with HumanParseError: not_an_image, broken_image, internal_error, closed.
   */
  async parse(source) {
    if (!(source instanceof Blob || source instanceof ImageBitmap || source instanceof ImageData)) {
      const arrived = source?.constructor?.name ?? typeof source;
      throw new HumanParseError(
        'not_an_image',
        `cannot read a picture from ${arrived}; give a File, Blob, ImageBitmap or ImageData`,
      );
    }
    const name = /^(.+?)(\.[^.]*)?$/.exec(source.name ?? '')?.[1] ?? 'image';
    return new Parsing(this, name, await this.#ask({ parse: source }));
  }

  /** End the worker and give its memory back. What is not finished yet is rejected. */
  close() {
    this.#stop(new HumanParseError('closed', 'this parser is closed; load another one'));
  }

  #ask(task, onProgress) {
    if (!this.#worker)
      return Promise.reject(
        new HumanParseError('closed', 'this parser is closed; load another one'),
      );
    const number = this.#tasks++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject, onProgress });
      this.#worker.postMessage({ number, ...task });
    });
  }

  #receive({ number, progress, answer, error }) {
    const task = this.#waiting.get(number);
    if (progress) {
      task?.onProgress(progress);
      return;
    }
    this.#waiting.delete(number);
    if (error) task?.reject(new HumanParseError(error.code, error.message));
    else task?.resolve(answer);
  }

  #stop(reason) {
    this.#worker?.terminate();
    this.#worker = null;
    for (const task of this.#waiting.values()) task.reject(reason);
    this.#waiting.clear();
  }
}

/** The people of one photo.
 *
 * width, height: of the photo that was parsed, in pixels. original: {width, height} before photos
 * of more than 12 megapixels were shrunk.
 * labels: [{name, colour: [red, green, blue]}]; `labels[class_id]`, 0 is the background.
 * labelMap: Uint8Array, the class of each pixel, row by row. personMap: Uint16Array, the person of
 * each pixel, 0 for nobody.
 * people: from left to right, as in docs/json.md: {id, score, box, area, mask, parts}, and in
 * `parts` {label, class_id, score, box, area, mask}.
 * timings: milliseconds by stage.
 */
class Parsing {
  constructor(parser, name, found) {
    const { labels, labelSet, model } = parser;
    Object.assign(this, { name, model, labelSet, labels }, found);
  }

  /** All parts of all people. */
  get parts() {
    return this.people.flatMap((person) => person.parts);
  }

  /** The answer of the HTTP API to the same photo, as a plain object. */
  toJSON() {
    return {
      schema: 'humanparse/1',
      name: this.name,
      model: this.model,
      width: this.width,
      height: this.height,
      label_set: this.labelSet,
      labels: this.labels.map((label) => label.name),
      people: this.people,
      loose_parts: [],
      timings_ms: this.timings,
    };
  }
}

function usualThreads() {
  return globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
}

function refuseOldBrowsers() {
  const lacking = [
    [globalThis.WebAssembly?.validate?.(Uint8Array.from(SIMD.flat())), 'WebAssembly with SIMD'],
    [globalThis.OffscreenCanvas, 'OffscreenCanvas'],
    [globalThis.Worker, 'workers'],
  ].flatMap(([there, name]) => (there ? [] : [name]));
  if (lacking.length)
    throw new HumanParseError(
      'unsupported_browser',
      `this browser lacks ${lacking.join(' and ')}, which the network needs; use a current ` +
        'Chrome, Edge, Firefox or Safari (16.4 or later), and allow WebAssembly in it',
    );
}
