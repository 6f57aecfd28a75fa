// Network outputs → people on the network's coarse cells. postprocess/centres.py explains the method;
// the numbers come from there, in model.json.
//
// A cell is a number, row by row. Maps of K channels are Float32Array (K · cells), one after the other.

import { components, winner } from './cells.js';
import { dropFaceless, dropIslands, joinPatches, oneOutfit, personMeans } from './cleanup.js';

/** Find the people in the network's outputs.
 *
 * outputs: {classes, person, centre, offset} and, if the model has it, wears: {data, dims}.
 * Returns {scores, partScores, persons, parts, foreground, grid}: scores of person 1..n, falling;
 * partScores: for each person the score of each class; persons: (n · cells), the highest for the
 * person that a cell belongs to; parts: (classes · cells) without the background, the highest for
 * the cell's class; foreground: positive where a person is.
 */
export function findPeople(outputs, geometry, model) {
  const { settings, stride } = model;
  const grid = {
    rows: Math.ceil(geometry.resizedHeight / stride),
    columns: Math.ceil(geometry.resizedWidth / stride),
  };
  const seen = (name) => cut(outputs[name], grid);
  const classes = seen('classes');
  const cells = grid.rows * grid.columns;
  const foreground = mixedForeground(classes, seen('person'), cells, model);
  const votes = votesOf(seen('offset'), grid, stride);
  const inside = Uint8Array.from(foreground, (value) => value > 0);
  const { heights, distance, owner } = grouped(seen('centre').map(sigmoid), votes, inside, {
    grid,
    model,
  });
  const scores = personScores(heights, owner, foreground);
  const order = [...heights.keys()]
    .filter((index) => scores[index] >= settings.person_score)
    .toSorted((a, b) => scores[b] - scores[a]);
  const parts = classes.slice(cells);
  const background = classes.subarray(0, cells);
  if (outputs.wears && settings.wears)
    steer(parts, personMeans(seen('wears').subarray(cells), owner, heights.length), owner, model);
  const probability = probabilities(background, parts);
  oneOutfit(parts, probability, owner, heights.length, model);
  const part = winner(parts, cells);
  const partScores = order.map((index) => scoresOfParts(probability, part, owner, index));
  dropFaceless(parts, owner, heights.length, grid, model);
  joinPatches(parts, owner, heights.length, grid, model);
  const kept = new Set(order);
  owner.forEach((index, cell) => {
    if (!kept.has(index)) foreground[cell] = Math.min(foreground[cell], -1);
  });
  const persons = new Float32Array(order.length * cells);
  order.forEach((index, number) =>
    persons.set(
      distance[index].map((far) => -far),
      number * cells,
    ),
  );
  return {
    scores: order.map((index) => scores[index]),
    partScores,
    persons,
    parts,
    foreground,
    grid,
  };
}

/** The part of an output that sees the photo. */
function cut({ data, dims }, { rows, columns }) {
  const [, channels, height, width] = dims;
  const made = new Float32Array(channels * rows * columns);
  for (let row = 0; row < channels * rows; row++) {
    const from = (Math.floor(row / rows) * height + (row % rows)) * width;
    made.set(data.subarray(from, from + columns), row * columns);
  }
  return made;
}

function sigmoid(logit) {
  return 1 / (1 + Math.exp(-Math.max(-30, Math.min(30, logit))));
}

/** The log odds of the class map and the person map, mixed: positive where a person is. */
function mixedForeground(classes, person, cells, { settings, faintest }) {
  const { person_weight: weight, foreground } = settings;
  const threshold = Math.log(foreground / (1 - foreground));
  const mixed = new Float32Array(cells);
  for (let cell = 0; cell < cells; cell++) {
    let best = -Infinity;
    for (let at = cell; at < classes.length; at += cells) best = Math.max(best, classes[at]);
    let odds = 0;
    for (let at = cell + cells; at < classes.length; at += cells)
      odds += Math.exp(classes[at] - best);
    const anyPart = Math.log(Math.max(odds, faintest)) - (classes[cell] - best);
    mixed[cell] = weight * person[cell] + (1 - weight) * anyPart - threshold;
  }
  return mixed;
}

/** The centre that each cell points to, {x, y}, in cells. */
function votesOf(offset, { rows, columns }, stride) {
  const cells = rows * columns;
  const x = new Float32Array(cells);
  const y = new Float32Array(cells);
  for (let cell = 0; cell < cells; cell++) {
    x[cell] = (cell % columns) + offset[cell] / stride;
    y[cell] = Math.floor(cell / columns) + offset[cells + cell] / stride;
  }
  return { x, y };
}

/** Find the peaks and each cell's nearest; join peaks, add strays, drop people who are too small.
 *
 * Returns {heights, distance, owner}: of each person's peak; from each cell's vote to each centre,
 * a Float32Array a person; the index of each cell's person, -1 for nobody.
 */
function grouped(heat, votes, inside, { grid, model }) {
  const { settings } = model;
  const diagonal = Math.hypot(grid.rows, grid.columns);
  const far = settings.stray * diagonal;
  let points = joined(peaks(heat, grid, model), votes, inside, grid, settings);
  points = points.concat(strays(points, votes, inside, far, { grid, model }));
  const fewest = Math.max(2, settings.min_area * inside.length);
  for (;;) {
    const distance = points.map((point) => distances(point, votes));
    const owner = nearest(distance, inside, far);
    const counts = points.map(() => 0);
    for (const index of owner) if (index >= 0) counts[index]++;
    const large = points.filter((_, index) => counts[index] >= fewest);
    if (large.length === points.length) {
      dropIslands(owner, points.length, grid, settings.island);
      return { heights: points.map((point) => point.height), distance, owner };
    }
    points = large;
  }
}

/** The local maxima of the heat map, highest first: [{x, y, height}]. */
function peaks(heat, { rows, columns }, { settings, stride, max_people }) {
  const radius = Math.max(1, Math.round(settings.peak_radius_px / stride));
  const found = [];
  for (let cell = 0; cell < heat.length; cell++) {
    if (heat[cell] < settings.peak) continue;
    const [x, y] = [cell % columns, Math.floor(cell / columns)];
    let highest = true;
    for (let down = -radius; down <= radius && highest; down++) {
      if (y + down < 0 || y + down >= rows) continue;
      const reach = Math.round(Math.sqrt(radius * radius - down * down)); // of OpenCV's ellipse
      const row = (y + down) * columns;
      const end = Math.min(columns - 1, x + reach);
      for (let at = Math.max(0, x - reach); at <= end; at++)
        if (heat[row + at] > heat[cell]) highest = false;
    }
    if (highest) found.push({ x, y, height: heat[cell] });
  }
  return found.toSorted((a, b) => b.height - a.height).slice(0, max_people);
}

function distances({ x, y }, votes) {
  return votes.x.map((at, cell) => Math.sqrt((at - x) ** 2 + (votes.y[cell] - y) ** 2));
}

/** The index of the nearest person of each cell, -1 for nobody within `far` and outside. */
function nearest(distance, inside, far) {
  return Int16Array.from(inside, (yes, cell) => {
    let [best, who] = [far, -1];
    if (yes) {
      for (let index = 0; index < distance.length; index++) {
        const here = distance[index][cell];
        if (here < best || (who < 0 && here <= best)) [best, who] = [here, index];
      }
    }
    return who;
  });
}

/** The peaks that are not too near a higher one for a person of that size. */
function joined(points, votes, inside, { columns, rows }, settings) {
  const boxes = points.map(() => ({ left: Infinity, top: Infinity, right: -1, bottom: -1 }));
  const distance = points.map((point) => distances(point, votes));
  nearest(distance, inside, Infinity).forEach((index, cell) => {
    if (index >= 0) widen(boxes[index], cell % columns, Math.floor(cell / columns));
  });
  const farthest = settings.join * Math.hypot(rows, columns); // for a person of any size
  const kept = [];
  points.forEach((point, index) => {
    const mine = boxes[index];
    const into = kept.find((other) => {
      const apart = Math.hypot(point.x - points[other].x, point.y - points[other].y);
      if (apart >= farthest) return false;
      const both = { ...boxes[other] };
      if (mine.right >= 0) {
        widen(both, mine.left, mine.top);
        widen(both, mine.right, mine.bottom);
      }
      const [width, height] = [both.right - both.left, both.bottom - both.top];
      return both.right >= 0 && apart < settings.join * Math.hypot(width, height)
        ? Object.assign(boxes[other], both)
        : false;
    });
    if (into === undefined) kept.push(index);
  });
  return kept.map((index) => points[index]);
}

function widen(box, x, y) {
  box.left = Math.min(box.left, x);
  box.right = Math.max(box.right, x);
  box.top = Math.min(box.top, y);
  box.bottom = Math.max(box.bottom, y);
}

/** A person for each large connected region that points to none of the peaks: where it points. */
function strays(points, votes, inside, far, { grid, model }) {
  const { settings, max_people } = model;
  const owner = nearest(
    points.map((point) => distances(point, votes)),
    inside,
    far,
  );
  const lost = inside.map((yes, cell) => yes && owner[cell] < 0);
  const least = 2 * settings.min_area * inside.length;
  const mean = (values, region) =>
    region.reduce((sum, cell) => sum + values[cell], 0) / region.length;
  return components(lost, grid, 4)
    .filter((region) => region.length >= least)
    .slice(0, Math.max(0, max_people - points.length))
    .map((region) => ({
      x: mean(votes.x, region),
      y: mean(votes.y, region),
      height: settings.peak,
    }));
}

/** The mean of the peak's height and of the mean probability of the person's cells. */
function personScores(heights, owner, foreground) {
  const sums = heights.map(() => 0);
  const counts = heights.map(() => 0);
  owner.forEach((index, cell) => {
    if (index < 0) return;
    sums[index] += sigmoid(foreground[cell]);
    counts[index]++;
  });
  return heights.map((height, index) => (height + sums[index] / counts[index]) / 2);
}

/** Raise each person's logits by the evidence for each class on the whole person. */
function steer(parts, means, owner, { settings }) {
  const cells = owner.length;
  for (let at = 0; at < parts.length; at++) {
    const index = owner[at % cells];
    if (index >= 0) parts[at] += settings.wears * means[index][Math.floor(at / cells)];
  }
}

/** The probabilities of the classes without the background. */
function probabilities(background, parts) {
  const cells = background.length;
  const made = new Float32Array(parts.length);
  for (let cell = 0; cell < cells; cell++) {
    let best = background[cell];
    for (let at = cell; at < parts.length; at += cells) best = Math.max(best, parts[at]);
    let sum = Math.exp(background[cell] - best);
    for (let at = cell; at < parts.length; at += cells)
      sum += made[at] = Math.exp(parts[at] - best);
    for (let at = cell; at < parts.length; at += cells) made[at] /= sum;
  }
  return made;
}

/** The mean probability of each class over the person's cells where it wins.
 *
 * A part that is so thin that it wins only between cells has the score of its best cell. The score
 * of the background, class 0, is 0.
 */
function scoresOfParts(probability, part, owner, index) {
  const cells = owner.length;
  const count = probability.length / cells;
  const [sums, wins, highest] = [0, 0, 0].map(() => new Float64Array(count));
  for (let cell = 0; cell < cells; cell++) {
    if (owner[cell] !== index) continue;
    sums[part[cell]] += probability[part[cell] * cells + cell];
    wins[part[cell]]++;
    for (let c = 0; c < count; c++)
      highest[c] = Math.max(highest[c], probability[c * cells + cell]);
  }
  return [0, ...highest.map((high, c) => (wins[c] ? sums[c] / wins[c] : high))];
}
