// Run lengths → label map and person map: the class and the person of every pixel.

export const MAX_SHOWN_PIXELS = 4_000_000; // on the screen; files are made from full-size maps

/** Decode COCO's compressed run lengths: unset pixels first, down each column. */
function runs(counts) {
  const found = [];
  for (let at = 0; at < counts.length;) {
    let value = 0;
    let shift = 0;
    let group;
    do {
      group = counts.charCodeAt(at++) - 48;
      value |= (group & 31) << shift;
      shift += 5;
    } while (group & 32);
    if (group & 16 && shift < 32) value |= -1 << shift;
    found.push(found.length > 2 ? value + found[found.length - 2] : value);
  }
  return found;
}

/** Return both maps of a result, sampled down to at most `maxPixels`.
 *
 * Returns {width, height, scale, labels, people}. scale: map pixels per photo pixel; labels:
 * Uint8Array of classes, 0 is the background; people: Uint8Array, or Uint16Array for more than 255
 * people, 0 is nobody.
 */
export function decode(result, maxPixels = Infinity) {
  const scale = Math.min(1, Math.sqrt(maxPixels / (result.width * result.height)));
  const width = Math.max(1, Math.floor(result.width * scale));
  const height = Math.max(1, Math.floor(result.height * scale));
  const size = {
    columns: samples(result.width, width),
    rows: samples(result.height, height),
    width,
  };
  const labels = new Uint8Array(width * height);
  const people = new (result.people.length > 255 ? Uint16Array : Uint8Array)(width * height);
  for (const part of result.loose_parts) paint(labels, part.mask, part.class_id, size);
  for (const person of result.people.toReversed()) {
    paint(people, person.mask, person.id, size);
    for (const part of person.parts) paint(labels, part.mask, part.class_id, size);
  }
  return { width, height, scale: width / result.width, labels, people };
}

/** For each edge 0…from between source pixels, return how many of the `to` samples lie before it.
 *
 * The samples are taken at the middles of the target's pixels.
 */
function samples(from, to) {
  const before = new Int32Array(from + 1);
  for (let edge = 0; edge <= from; edge++)
    before[edge] = from === to ? edge : Math.max(0, Math.ceil((edge * to) / from - 0.5));
  return before;
}

function paint(map, rle, value, size) {
  let at = 0;
  let set = false;
  for (const run of runs(rle.counts)) {
    if (set) paintRun(map, value, size, rle.size[0], at, at + run);
    at += run;
    set = !set;
  }
}

/** Set the pixels of a run, which goes down the columns of a mask that is `tall` pixels high. */
function paintRun(map, value, { columns, rows, width }, tall, start, end) {
  for (let at = start; at < end;) {
    const x = Math.floor(at / tall);
    const y = at - x * tall;
    const stop = Math.min(tall, y + end - at);
    if (columns[x] < columns[x + 1]) {
      const last = rows[stop] * width + columns[x];
      for (let to = rows[y] * width + columns[x]; to < last; to += width) map[to] = value;
    }
    at += stop - y;
  }
}
