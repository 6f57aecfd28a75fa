// What each person wears, read from the network's maps over the whole person. As
// postprocess/outfit.py, where the method is explained; the layers are in model.json.
//
// people: the cells of each person in rising order, an array of arrays.

/** Raise and lower the class logits of each person's cells by what the whole person wears.
 *
 * parts: maps of the classes without the background, changed in place. probability, wears: maps of
 * the classes with it.
 */
export function steer(parts, probability, wears, people, grid, model) {
  const cells = grid.rows * grid.columns;
  for (const mine of people) {
    if (!mine.length) continue;
    const rises = model.outfit_reader
      ? read(summary(probability, wears, mine, grid, model.outfit_reader), model)
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
function summary(probability, wears, mine, { rows, columns }, { bands }) {
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
function read(numbers, { outfit_reader: reader, settings }) {
  const seen = numbers.map((number, at) => {
    const scaled = (number - reader.middle[at]) * reader.scale[at];
    return Math.max(-reader.reach, Math.min(reader.reach, scaled));
  });
  const hidden = layer(seen, reader.first, reader.first_bias).map((value) => Math.max(value, 0));
  return layer(hidden, reader.second, reader.second_bias).map((odds, c) =>
    c ? (odds > 0 ? settings.worn : settings.denied) * odds : 0,
  );
}

/** values · weights + biases; the weights come row by row. */
function layer(values, weights, biases) {
  const made = Float64Array.from(biases);
  values.forEach((value, row) => {
    for (let at = 0; at < made.length; at++) made[at] += value * weights[row * made.length + at];
  });
  return made;
}
