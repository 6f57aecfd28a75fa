// Draws a parsed photo on any canvas: overlay, colours, outlines or the photo alone. Used for the
// screen and for files.

import { isShown } from './state.js';
import { css } from './dom.js';
import { outline } from './contours.js';

const INK = '32 33 38';
const NO_PHOTO = '#33343a'; // behind the colours, if the browser cannot show the photo

const PERSON_COLOURS = [
  // the same as in the pictures that the package draws
  [255, 178, 0],
  [0, 122, 232],
  [232, 58, 92],
  [96, 212, 120],
  [150, 84, 220],
  [120, 220, 240],
  [214, 96, 24],
  [20, 132, 116],
  [255, 150, 200],
  [196, 204, 60],
];

export const personColour = (person) =>
  person ? PERSON_COLOURS[(person - 1) % PERSON_COLOURS.length] : [128, 128, 128];

/** Return what is needed to draw a result: photo (or null), maps, palette, and outlines, which are
 * computed when they are first drawn.
 */
export function newScene(result, photo, maps, palette, numbers = null) {
  const anchors = result.people.map((person, index) => ({
    person: person.id,
    number: numbers ? numbers[index] : person.id,
    at: aboveHead(maps, person),
  }));
  return { result, photo, maps, palette, anchors, paths: new Map(), layer: null, layerKey: '' };
}

/** Draw the photo and what `look` adds to it, in photo pixels; the caller sets the transform.
 *
 * look: {mode, opacity, colourBy, picture, pointed}; unit: the size in photo pixels that widths of
 * lines and text are multiples of.
 */
export function draw(ctx, scene, look, unit) {
  const { result, photo } = scene;
  const { mode } = look;
  if (mode === 'edited' && scene.edited) {
    ctx.clearRect(0, 0, result.width, result.height); // a cut-out is transparent
    ctx.drawImage(scene.edited, 0, 0, result.width, result.height);
  } else if (mode === 'colours' || !photo) {
    ctx.fillStyle = mode === 'colours' ? '#000' : NO_PHOTO;
    ctx.fillRect(0, 0, result.width, result.height);
  } else {
    ctx.drawImage(photo, 0, 0, result.width, result.height);
  }
  if (mode === 'colours' || mode === 'overlay') {
    ctx.globalAlpha = mode === 'colours' || !photo ? 1 : look.opacity;
    ctx.drawImage(colourLayer(scene, look), 0, 0, result.width, result.height);
    ctx.globalAlpha = 1;
  }
  ctx.lineJoin = 'round';
  if (mode === 'overlay' || mode === 'outlines') drawLines(ctx, scene, look, unit);
  if (look.pointed) drawPointed(ctx, scene, look, unit);
  if (mode === 'overlay' || mode === 'outlines') drawNumbers(ctx, scene, look, unit);
}

/** Return a canvas of the maps' size with the colours of what is shown, transparent elsewhere.
 *
 * It is kept until the choice of what is shown changes.
 */
function colourLayer(scene, { picture, colourBy }) {
  const key = `${colourBy} ${picture.solo} ${[...picture.off]}`;
  if (scene.layerKey === key && scene.layer) return scene.layer;
  const { width, height } = scene.maps;
  const layer = scene.layer || new OffscreenCanvas(width, height);
  layer
    .getContext('2d')
    .putImageData(
      new ImageData(
        new Uint8ClampedArray(coloured(scene, picture, colourBy).buffer),
        width,
        height,
      ),
      0,
      0,
    );
  return Object.assign(scene, { layer, layerKey: key }).layer;
}

/** Return a Uint32Array with the RGBA of each pixel of the maps, 0 where nothing is shown. */
export function coloured({ result, maps, palette }, picture, colourBy) {
  const { labels, people } = maps;
  const parts = new Uint32Array(256);
  const persons = new Uint32Array(result.people.length + 1);
  for (let part = 1; part < palette.length; part++)
    if (!picture.off.has(part)) parts[part] = rgba(palette[part]);
  for (let person = 0; person < persons.length; person++) {
    if (!picture.solo || picture.solo === person) persons[person] = rgba(personColour(person));
  }
  const pixels = new Uint32Array(labels.length);
  for (let i = 0; i < pixels.length; i++) {
    const colour = parts[labels[i]];
    const person = persons[people[i]];
    if (colour && person) pixels[i] = colourBy === 'person' ? person : colour;
  }
  return pixels;
}

const littleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

const rgba = ([red, green, blue]) =>
  littleEndian
    ? ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0
    : ((red << 24) | (green << 16) | (blue << 8) | 255) >>> 0;

// Lines

/** Return all parts as {person, part, box}; person is 0 for parts of no person. */
export function regions(result) {
  const ofPeople = result.people.flatMap((person) =>
    person.parts.map((part) => ({ person: person.id, part: part.class_id, box: part.box })),
  );
  return [
    ...ofPeople,
    ...result.loose_parts.map((part) => ({ person: 0, part: part.class_id, box: part.box })),
  ];
}

function partPath(scene, { person, part, box }) {
  const { labels, people } = scene.maps;
  return kept(scene, `${person}/${part}`, box, (i) => labels[i] === part && people[i] === person);
}

function personPath(scene, person) {
  const { people } = scene.maps;
  return kept(scene, `${person.id}`, person.box, (i) => people[i] === person.id);
}

function kept(scene, key, box, inside) {
  if (!scene.paths.has(key)) scene.paths.set(key, outline(scene.maps, box, inside));
  return scene.paths.get(key);
}

/** Draw lines around parts and white lines around people.
 *
 * Those around parts are fine and dark in the overlay, and have the part's colour in the outlines.
 */
function drawLines(ctx, scene, { mode, colourBy, picture }, unit) {
  const shown = regions(scene.result).filter((one) => isShown(picture, one.person, one.part));
  for (const region of shown) {
    const path = partPath(scene, region);
    if (mode === 'outlines') {
      stroke(ctx, path, 3.2 * unit, `rgb(${INK} / 0.55)`);
      stroke(
        ctx,
        path,
        1.8 * unit,
        css(colourBy === 'person' ? personColour(region.person) : scene.palette[region.part]),
      );
    } else {
      stroke(ctx, path, unit, `rgb(${INK} / 0.45)`);
    }
  }
  const people = scene.result.people.filter((person) =>
    shown.some((one) => one.person === person.id),
  );
  for (const person of people)
    stroke(ctx, personPath(scene, person), 3.6 * unit, `rgb(${INK} / 0.6)`);
  for (const person of people)
    stroke(ctx, personPath(scene, person), 1.6 * unit, 'rgb(255 255 255 / 0.95)');
}

/** Highlight what the pointer is on. */
function drawPointed(ctx, scene, { mode, picture, pointed }, unit) {
  const matches = (one) =>
    (!pointed.person || pointed.person === one.person) &&
    (!pointed.part || pointed.part === one.part);
  const chosen = regions(scene.result).filter(
    (one) => matches(one) && isShown(picture, one.person, one.part),
  );
  for (const region of pointed.part ? chosen : []) {
    const path = partPath(scene, region);
    if (mode !== 'colours') {
      ctx.fillStyle = `rgb(${scene.palette[region.part].join(' ')} / 0.45)`;
      ctx.fill(path, 'evenodd');
    }
    stroke(ctx, path, 5 * unit, `rgb(${INK} / 0.75)`);
    stroke(ctx, path, 2.5 * unit, '#fff');
  }
  const people = pointed.part
    ? []
    : scene.result.people.filter((person) => chosen.some((one) => one.person === person.id));
  for (const person of people) {
    stroke(ctx, personPath(scene, person), 6 * unit, `rgb(${INK} / 0.75)`);
    stroke(ctx, personPath(scene, person), 3.5 * unit, css(personColour(person.id)));
  }
}

function stroke(ctx, path, width, colour) {
  ctx.lineWidth = width;
  ctx.strokeStyle = colour;
  ctx.stroke(path);
}

// Numbers

/** A small tag with each person's number above their head, unless 1 is alone. */
function drawNumbers(ctx, { result, anchors }, { picture }, unit) {
  if (anchors.length < 2 && anchors[0]?.number === 1) return;
  const em = 13 * unit;
  const high = 1.45 * em;
  const taken = [];
  ctx.font = `600 ${em}px system-ui, sans-serif`;
  ctx.textAlign = 'center';
  ctx.textBaseline = 'middle';
  for (const { person, number, at } of anchors) {
    if (!result.people[person - 1].parts.some((part) => isShown(picture, person, part.class_id)))
      continue;
    const wide = Math.max(high, ctx.measureText(number).width + 0.9 * em);
    const tag = freePlace(at[0] - wide / 2, at[1] - high - em / 4, wide, high, result, taken);
    taken.push(tag);
    ctx.beginPath();
    ctx.roundRect(tag.x, tag.y, wide, high, high / 2);
    ctx.fillStyle = `rgb(${INK})`;
    ctx.fill();
    ctx.lineWidth = 1.5 * unit;
    ctx.strokeStyle = css(personColour(number));
    ctx.stroke();
    ctx.fillStyle = '#fff';
    ctx.fillText(number, tag.x + wide / 2, tag.y + high * 0.54);
  }
}

/** Return a position inside the photo, moved down until it covers no other tag. */
function freePlace(x, y, wide, high, { width, height }, taken) {
  const tag = {
    x: Math.max(0, Math.min(x, width - wide)),
    y: Math.max(0, Math.min(y, height - high)),
    wide,
    high,
  };
  const meets = (other) =>
    tag.x < other.x + other.wide &&
    other.x < tag.x + wide &&
    tag.y < other.y + high &&
    other.y < tag.y + high;
  for (let other = taken.find(meets); other && tag.y + high <= height; other = taken.find(meets))
    tag.y = other.y + high;
  return tag;
}

/** Return the middle of a person's upper edge, in photo pixels. */
function aboveHead({ people, width, height, scale }, { id, box }) {
  const top = Math.floor(box[1] * scale);
  const stop = Math.min(height, top + Math.max(1, Math.ceil(((box[3] - box[1]) * scale) / 12)));
  let sum = 0;
  let count = 0;
  for (let i = top * width; i < stop * width; i++) {
    if (people[i] === id) {
      sum += i % width;
      count++;
    }
  }
  return [count ? (sum / count + 0.5) / scale : (box[0] + box[2]) / 2, box[1]];
}
