// What each person wears, read from the network's maps over the whole person. As
// postprocess/outfit.py, where the method is explained; the layers are in the model's
// card, as text.
//
// people: the cells of each person in rising order, an array of arrays.

/** Raise and lower the class logits of each person's cells by what the whole person wears.
 *
 * parts: maps of the classes without the background, changed in place. probability, wears: maps of
 * the classes with it.
 */
export function steer(parts, probability, wears, people, grid, model) {
  const cells = grid.rows * grid.columns;
  const layers = layersOf(model, probability.length / cells);
  for (const mine of people) {
    if (!mine.length) continue;
    const rises = layers
      ? read(summary(probability, wears, mine, grid, model.outfit_bands), layers, model)
      : means(wears, mine, cells).map((mean) => model.settings.wears * mean);
    for (let from = 0; from < parts.length; from += cells) {
      const rise = rises[from / cells + 1];
      if (rise) for (const cell of mine) parts[from + cell] += rise;
    }
  }
}

/** The mean of each map over some cells. */
function means(maps, some, cells) {
  const found = new Float32Array(maps.length / cells);
  for (let c = 0; c < found.length && some.length; c++) {
    let sum = 0;
    for (const cell of some) sum += maps[c * cells + cell];
    found[c] = sum / some.length;
  }
  return found;
}

/** For each class its mean, its highest, its mean in each band from top to bottom, and `wears`. */
function summary(probability, wears, mine, { rows, columns }, bands) {
  const cells = rows * columns;
  const top = Math.floor(mine[0] / columns);
  const height = Math.floor(mine.at(-1) / columns) + 1 - top;
  const inBands = Array.from({ length: bands }, () => []);
  for (const cell of mine) {
    const row = Math.floor(cell / columns) - top;
    inBands[Math.floor((row * bands) / height)].push(cell);
  }
  const highest = means(probability, [], cells);
  for (let c = 0; c < highest.length; c++)
    for (const cell of mine) highest[c] = Math.max(highest[c], probability[c * cells + cell]);
  return [
    means(probability, mine, cells),
    highest,
    ...inBands.map((some) => means(probability, some, cells)),
    means(wears, mine, cells),
  ].flatMap((values) => [...values]);
}

/** What the layers make of a summary: by how much to raise each class, 0 for the background. */
function read(numbers, layers, { outfit_reach: reach, settings }) {
  const seen = numbers.map((number, at) => {
    const scaled = (number - layers.middle[at]) * layers.scale[at];
    return Math.max(-reach, Math.min(reach, scaled));
  });
  const hidden = layer(seen, layers.first, layers.firstBias).map((value) => Math.max(value, 0));
  return layer(hidden, layers.second, layers.secondBias).map((odds, c) =>
    c ? (odds > 0 ? settings.worn : settings.denied) * odds : 0,
  );
}

const unpacked = new Map(); // the layers by their text

/** The layers of the model's outfit reader, unpacked once; null if it has none. */
function layersOf({ settings: { outfit_reader: text }, outfit_bands: bands }, classes) {
  if (!text) return null;
  if (!unpacked.has(text)) {
    const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    const halves = new DataView(bytes.buffer);
    const numbers = Float32Array.from({ length: bytes.length / 2 }, (_, at) =>
      half(halves.getUint16(2 * at, true)),
    );
    const size = (bands + 3) * classes;
    const hidden = (numbers.length - 2 * size - classes) / (size + 1 + classes);
    let from = 0;
    const next = (length) => numbers.subarray(from, (from += length));
    unpacked.set(text, {
      middle: next(size),
      scale: next(size),
      first: next(size * hidden),
      firstBias: next(hidden),
      second: next(hidden * classes),
      secondBias: next(classes),
    });
  }
  return unpacked.get(text);
}

/** The number that 16 bits stand for (IEEE 754 binary16, finite). */
function half(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, (bits & 1023) / 1024];
  const size = exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction;
  return bits & 0x8000 ? -size : size;
}

/** values · weights + biases; the weights come row by row. */
function layer(values, weights, biases) {
  const made = Float64Array.from(biases);
  values.forEach((value, row) => {
    for (let at = 0; at < made.length; at++) made[at] += value * weights[row * made.length + at];
  });
  return made;
}
