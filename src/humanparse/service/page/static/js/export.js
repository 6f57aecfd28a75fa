// The files a visitor can download: pictures as they are shown, and data with everything that was
// found.

import * as api from './api.js';
import { coco } from './coco.js';
import { coloured, draw, newScene } from './draw.js';
import { decode } from './maps.js';
import { fullPhoto } from './photos.js';
import { indexedPng, rgbPng } from './png.js';
import { isShown, state } from './state.js';

/** The suffix of each format's file, and the function that makes it from a picture. */
export const FORMATS = {
  overlay: { suffix: '.overlay.png', blob: overlay },
  colormap: { suffix: '.colormap.png', blob: colormap },
  cutout: { suffix: '.cutout.png', blob: cutout },
  labels: { suffix: '.labels.png', blob: labels },
  json: { suffix: '.json', blob: json },
  coco: { suffix: '.coco.json', blob: annotations },
};

/** Return {blob, name} of a picture in one of FORMATS. */
export async function file(picture, format) {
  const { suffix, blob } = FORMATS[format];
  return { blob: await blob(picture), name: picture.stem + suffix };
}

// Pictures as they are shown

async function overlay(picture) {
  const { result, scene } = picture;
  const photo = await fullPhoto(picture.file);
  if (!photo) return fromServer(picture, 'overlay');
  const canvas = new OffscreenCanvas(result.width, result.height);
  const mode = state.mode === 'outlines' ? 'outlines' : 'overlay';
  // the maps of the screen are fine enough for lines and colours
  const whole = newScene(result, photo, scene.maps, scene.palette);
  const unit = Math.max(1, Math.sqrt(result.width * result.height) / 800);
  const ctx = canvas.getContext('2d');
  ctx.imageSmoothingQuality = 'high';
  draw(ctx, whole, { ...state, picture, mode, pointed: null }, unit);
  photo.close();
  return canvas.convertToBlob({ type: 'image/png' });
}

function colormap(picture) {
  const { result, scene } = picture;
  const pixels = new Uint8Array(
    coloured({ ...scene, maps: decode(result) }, picture, state.colourBy).buffer,
  );
  return rgbPng(result.width, result.height, (i) => pixels.subarray(4 * i, 4 * i + 3));
}

/** Return the photo where something is shown, cropped to it and transparent elsewhere. */
async function cutout(picture) {
  const photo = await fullPhoto(picture.file);
  if (!photo) return fromServer(picture, 'cutout');
  const { result } = picture;
  const maps = decode(result);
  const [x0, y0, x1, y1] = boxOfShown(picture);
  const canvas = new OffscreenCanvas(x1 - x0, y1 - y0);
  const ctx = canvas.getContext('2d');
  ctx.drawImage(photo, -x0, -y0, result.width, result.height);
  photo.close();
  const pixels = ctx.getImageData(0, 0, canvas.width, canvas.height);
  const rgba = new Uint32Array(pixels.data.buffer);
  for (let y = y0, to = 0; y < y1; y++) {
    for (let i = y * maps.width + x0; i < y * maps.width + x1; i++, to++) {
      const kept = maps.labels[i]
        ? isShown(picture, maps.people[i], maps.labels[i])
        : isWhole(picture, maps.people[i]);
      if (!kept) rgba[to] = 0;
    }
  }
  ctx.putImageData(pixels, 0, 0);
  return canvas.convertToBlob({ type: 'image/png' });
}

/** Whether a person's pixels of no part are kept: only if all parts of the person are shown. */
const isWhole = (picture, person) =>
  person > 0 && !picture.off.size && (!picture.solo || picture.solo === person);

/** Return the box around everything that is shown, or the whole photo if nothing is. */
function boxOfShown(picture) {
  const { result } = picture;
  const boxes = [
    ...result.people.filter((person) => isWhole(picture, person.id)),
    ...result.people.flatMap((person) =>
      person.parts.filter((part) => isShown(picture, person.id, part.class_id)),
    ),
    ...result.loose_parts.filter((part) => isShown(picture, 0, part.class_id)),
  ].map((region) => region.box);
  if (!boxes.length) return [0, 0, result.width, result.height];
  const least = (edge) => Math.min(...boxes.map((box) => box[edge]));
  const most = (edge) => Math.max(...boxes.map((box) => box[edge]));
  return [least(0), least(1), most(2), most(3)];
}

/** Let the server draw a photo that this browser cannot read. */
async function fromServer(picture, format) {
  return (await api.parse(picture.file, { model: picture.model.name, format }).done).body;
}

// Data with everything that was found

function labels(picture) {
  const { result, scene } = picture;
  return indexedPng(result.width, result.height, decode(result).labels, scene.palette);
}

function json(picture) {
  return text({ ...picture.result, name: picture.stem });
}

function annotations(picture) {
  return text(coco(picture.result, picture.name));
}

const text = (data) => new Blob([JSON.stringify(data), '\n'], { type: 'application/json' });
