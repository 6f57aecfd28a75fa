// The worker of humanparse.js: loads the model and the runtime, and parses photos.
//
//     {number, load, threads} or {number, parse}  →  {number, progress}*, {number, answer | error}

import * as ort from './ort/ort.wasm.min.js';
import { cardOf } from './card.js';
import { findPeople } from './centres.js';
import { Failure } from './failure.js';
import { openPhoto } from './photo.js';
import { geometryOf, networkInput } from './preprocess.js';
import { paint } from './paste.js';
import { regionsOf } from './regions.js';

const RUNTIME = new URL('ort/ort-wasm-simd-threaded.wasm.gz', import.meta.url).href;
let model; // what model.json says
let session;
let last = Promise.resolve(); // tasks are done one after the other

self.onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};

async function answer({ number, load: folder, threads, parse: source }) {
  try {
    const found = await (folder
      ? load(folder, threads, (progress) => self.postMessage({ number, progress }))
      : parse(source));
    const maps = folder ? [] : [found.labelMap.buffer, found.personMap.buffer];
    self.postMessage({ number, answer: found }, maps);
  } catch (error) {
    const code = error instanceof Failure ? error.code : 'internal_error';
    self.postMessage({ number, error: { code, message: error.message } });
  }
}

async function load(folder, threads, onProgress) {
  model = await (await reach(`${folder}model.json`)).json();
  const { bytes } = model;
  const total = bytes.runtime + bytes.model;
  const runtime = await download(RUNTIME, (loaded) =>
    onProgress({ loaded, total, what: 'runtime' }),
  );
  const network = await download(`${folder}model.onnx.gz`, (loaded) =>
    onProgress({ loaded: bytes.runtime + loaded, total, what: 'model' }),
  );
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmBinary = runtime.buffer;
  ort.env.wasm.wasmPaths = { mjs: new URL('ort/ort-wasm-simd-threaded.js', import.meta.url).href };
  try {
    // its layers are large, and therefore not in model.json as well
    model.settings.outfit_reader = cardOf(network).settings.outfit_reader;
    session = await ort.InferenceSession.create(network, { executionProviders: ['wasm'] });
  } catch (error) {
    throw new Failure('broken_model', `the model cannot be opened: ${error.message}`);
  }
  return {
    model: model.name,
    labelSet: model.label_set,
    labels: model.classes.map((name, index) => ({ name, colour: model.palettes.clear[index] })),
    threads,
  };
}

async function parse(source) {
  const timings = {};
  let begun = performance.now();
  const took = (stage) => {
    timings[stage] = performance.now() - begun;
    begun = performance.now();
  };
  const photo = await openPhoto(source, model.max_pixels);
  took('read');
  const geometry = geometryOf(photo, model.preprocess);
  const input = networkInput(photo, geometry, model.preprocess);
  const { width, height, original } = photo;
  photo.close();
  took('preprocess');
  const outputs = await run(input, geometry);
  took('network');
  const people = findPeople(outputs, geometry, model);
  const maps = paint(people, geometry, model);
  const found = regionsOf(maps, people, geometry, model);
  took('postprocess');
  return { width, height, original, ...maps, people: found, timings };
}

/** Run the network. Returns {name: {data: Float32Array, dims}}. */
async function run(input, { inputHeight, inputWidth }) {
  const pixels = new ort.Tensor('float32', input, [1, 3, inputHeight, inputWidth]);
  return await session.run({ [session.inputNames[0]]: pixels });
}

/** Fetch a file. Returns its Response, or throws a Failure that says which one is missing. */
async function reach(url) {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new Failure('download_failed', `${url} cannot be loaded: ${error.message}`);
  }
  if (!response.ok)
    throw new Failure('download_failed', `${url} cannot be loaded: status ${response.status}`);
  return response;
}

/** Load a file that is packed by gzip. Returns the unpacked bytes as Uint8Array.
 *
 * onProgress: called with the bytes so far.
 */
async function download(url, onProgress) {
  const pieces = [];
  let loaded = 0;
  const reader = (await reach(url)).body.getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      pieces.push(piece.value);
      loaded += piece.value.length;
      onProgress(loaded);
    }
    return await unpacked(new Blob(pieces));
  } catch (error) {
    throw new Failure('download_failed', `${url} broke off: ${error.message}`);
  }
}

async function unpacked(file) {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const isPacked = first === 0x1f && second === 0x8b; // some hosts have browsers unpack such files
  const bytes = isPacked ? file.stream().pipeThrough(new DecompressionStream('gzip')) : file;
  return new Uint8Array(await new Response(bytes).arrayBuffer());
}
