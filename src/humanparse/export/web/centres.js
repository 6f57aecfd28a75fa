// Network outputs → people on the network's coarse cells. postprocess/centres.py explains the
// method; the numbers come from there, in model.json. cells.js says what a cell is.

import { cellsByPerson, components, highest, winner } from './cells.js';
import { dropFaceless, islands, joinPatches } from './cleanup.js';
import { steer } from './outfit.js';

/** Find the people in the network's outputs.
 *
 * outputs: {classes, person, centre, offset} and, if the model has it, wears: {data, dims}.
 * Returns {scores, partScores, persons, parts, foreground, grid}: scores of person 1..n;
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
  const cells = grid.rows * grid.columns;
  const seen = (name) => cut(outputs[name], grid);
  const classes = seen('classes');
  const foreground = mixedForeground(classes, seen('person'), cells, model);
  const votes = votesOf(seen('offset'), grid, stride);
  const { points, distance, owner } = grouped(seen('centre').map(sigmoid), votes, foreground, {
    grid,
    model,
  });
  const people = cellsByPerson(owner, points.length);
  const scores = people.map((mine, index) => scoreOf(mine, points[index], foreground));
  const order = leftToRight(people, grid).filter((index) => scores[index] >= settings.person_score);

  const parts = classes.subarray(cells);
  if (outputs.wears)
    steer(parts, probabilities(classes, cells), seen('wears'), people, grid, model);
  const probability = probabilities(classes, cells).subarray(cells);
  const part = winner(parts, cells);
  const partScores = order.map((index) => scoresOfParts(probability, part, people[index], cells));
  dropFaceless(parts, people, grid, model);
  joinPatches(parts, owner, people, grid, model);

  const kept = new Set(order);
  for (let cell = 0; cell < cells; cell++)
    if (!kept.has(owner[cell])) foreground[cell] = Math.min(foreground[cell], -1);
  const persons = new Float32Array(order.length * cells);
  order.forEach((index, number) => {
    for (let cell = 0; cell < cells; cell++)
      persons[number * cells + cell] = -distance[index][cell];
  });
  const sure = order.map((index) => scores[index]);
  return { scores: sure, partScores, persons, parts, foreground, grid };
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
  const best = highest(classes, cells);
  const odds = new Float32Array(cells); // of all parts together
  for (let from = cells; from < classes.length; from += cells)
    for (let cell = 0; cell < cells; cell++)
      odds[cell] += Math.exp(classes[from + cell] - best[cell]);
  return odds.map((sum, cell) => {
    const anyPart = Math.log(Math.max(sum, faintest)) - (classes[cell] - best[cell]);
    return weight * person[cell] + (1 - weight) * anyPart - threshold;
  });
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
 * Returns {points, distance, owner}: {x, y, height} of each person; from each cell's vote to each
 * point, a Float32Array a person; the index of each cell's person, -1 for nobody.
 */
function grouped(heat, votes, foreground, { grid, model }) {
  const { settings } = model;
  const far = settings.stray * Math.hypot(grid.rows, grid.columns);
  const inside = Uint8Array.from(foreground.map((value) => (value > 0 ? 1 : 0)));
  let points = joined(peaks(heat, grid, model), votes, inside, grid, settings);
  points = points.concat(strays(points, votes, inside, far, { grid, model }));
  for (let round = 0; round < model.rounds; round++) {
    const more = others(points, votes, inside, { grid, model });
    if (!more.length) break;
    points = points.concat(more);
  }
  const fewest = Math.max(2, settings.min_area * inside.length);
  for (;;) {
    const distance = distancesOf(points, votes);
    const owner = nearest(distance, inside, far);
    const people = cellsByPerson(owner, points.length);
    const large = points.filter((_, index) => people[index].length >= fewest);
    if (large.length === points.length) {
      for (const cell of islands(people, grid, settings.island)) owner[cell] = -1;
      return { points, distance, owner };
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
    let isPeak = true;
    for (let down = -radius; down <= radius && isPeak; down++) {
      if (y + down < 0 || y + down >= rows) continue;
      const reach = Math.round(Math.sqrt(radius * radius - down * down)); // of OpenCV's ellipse
      const row = (y + down) * columns;
      const end = Math.min(columns - 1, x + reach);
      for (let at = Math.max(0, x - reach); at <= end; at++)
        if (heat[row + at] > heat[cell]) isPeak = false;
    }
    if (isPeak) found.push({ x, y, height: heat[cell] });
  }
  return found.toSorted((a, b) => b.height - a.height).slice(0, max_people);
}

/** How far each cell's vote lies from each point: a Float32Array (cells) that the point keeps. */
function distancesOf(points, votes) {
  return points.map((point) => (point.distance ??= distanceOf(point, votes)));
}

function distanceOf({ x, y }, votes) {
  const made = new Float32Array(votes.x.length);
  for (let cell = 0; cell < made.length; cell++) {
    const [across, down] = [votes.x[cell] - x, votes.y[cell] - y];
    made[cell] = Math.sqrt(across * across + down * down);
  }
  return made;
}

/** The index of the nearest person of each cell, -1 outside and where all are beyond `far`. */
function nearest(distance, inside, far) {
  const best = new Float32Array(inside.length).fill(Infinity);
  const owner = new Int16Array(inside.length).fill(-1);
  distance.forEach((here, index) => {
    for (let cell = 0; cell < owner.length; cell++) {
      if (inside[cell] && here[cell] <= far && here[cell] < best[cell]) {
        best[cell] = here[cell];
        owner[cell] = index;
      }
    }
  });
  return owner;
}

/** The peaks that are not too near a higher one for a person of that size. */
function joined(points, votes, inside, { columns, rows }, settings) {
  const boxes = points.map(() => ({ left: Infinity, top: Infinity, right: -1, bottom: -1 }));
  nearest(distancesOf(points, votes), inside, Infinity).forEach((index, cell) => {
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
  const owner = nearest(distancesOf(points, votes), inside, far);
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

/** A person for each large connected part of somebody that points to one other place. */
function others(points, votes, inside, { grid, model }) {
  const { settings, max_people } = model;
  const distance = distancesOf(points, votes);
  const people = cellsByPerson(nearest(distance, inside, Infinity), points.length);
  const found = [];
  people.forEach((mine, index) => {
    const reach = settings.elsewhere * diagonal(mine, grid);
    const least = Math.max(settings.second * mine.length, settings.min_area * inside.length);
    const away = new Uint8Array(inside.length);
    for (const cell of mine) if (distance[index][cell] > reach) away[cell] = 1;
    for (const region of components(away, grid, 4)) {
      if (region.length < least || points.length + found.length >= max_people) continue;
      const [x, y] = [median(region, votes.x), median(region, votes.y)];
      const size = diagonal(region, grid);
      const middle = middleOf(region, grid);
      if (Math.hypot(middle.x - x, middle.y - y) > settings.own_middle * size) continue;
      const near = settings.same_place * size;
      const same = region.filter(
        (cell) => Math.hypot(votes.x[cell] - x, votes.y[cell] - y) < near,
      ).length;
      if (same >= settings.agreed * region.length) found.push({ x, y, height: settings.peak });
    }
  });
  return found;
}

/** The diagonal of the box of some cells, in cells. */
function diagonal(region, grid) {
  const { left, top, right, bottom } = boxOf(region, grid);
  return region.length ? Math.hypot(right - left + 1, bottom - top + 1) : 0;
}

/** The box of some cells: the first and the last column and row. */
function boxOf(region, { columns }) {
  const box = { left: Infinity, top: Infinity, right: -1, bottom: -1 };
  for (const cell of region) widen(box, cell % columns, Math.floor(cell / columns));
  return box;
}

/** The mean place of some cells. */
function middleOf(region, { columns }) {
  let [x, y] = [0, 0];
  for (const cell of region) {
    x += cell % columns;
    y += Math.floor(cell / columns);
  }
  return { x: x / region.length, y: y / region.length };
}

function median(region, values) {
  const sorted = Float32Array.from(region, (cell) => values[cell]).toSorted();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The mean of the peak's height and of the mean probability of the person's cells. */
function scoreOf(mine, { height }, foreground) {
  const sum = mine.reduce((total, cell) => total + sigmoid(foreground[cell]), 0);
  return (height + sum / mine.length) / 2;
}

/** The order of people by the middles of their boxes; see `left_to_right` in assemble.py. */
function leftToRight(people, grid) {
  const middles = people.map((mine) => {
    const box = boxOf(mine, grid);
    return { x: box.left + box.right, y: box.top + box.bottom };
  });
  const before = (a, b) => middles[a].x - middles[b].x || middles[a].y - middles[b].y;
  return [...people.keys()].toSorted(before);
}

/** The probabilities of the classes, with the background. */
function probabilities(classes, cells) {
  const best = highest(classes, cells);
  const made = new Float32Array(classes.length);
  const sums = new Float32Array(cells);
  for (let from = 0; from < classes.length; from += cells) {
    for (let cell = 0; cell < cells; cell++) {
      made[from + cell] = Math.exp(classes[from + cell] - best[cell]);
      sums[cell] += made[from + cell];
    }
  }
  for (let from = 0; from < classes.length; from += cells)
    for (let cell = 0; cell < cells; cell++) made[from + cell] /= sums[cell];
  return made;
}

/** The mean probability of each class over the person's cells where it wins.
 *
 * A part that is so thin that it wins only between cells has the score of its best cell. The score
 * of the background, class 0, is 0.
 */
function scoresOfParts(probability, part, mine, cells) {
  const scores = [0];
  for (let c = 0; c * cells < probability.length; c++) {
    let [sum, wins, best] = [0, 0, 0];
    for (const cell of mine) {
      const here = probability[c * cells + cell];
      if (here > best) best = here;
      if (part[cell] !== c) continue;
      sum += here;
      wins++;
    }
    scores.push(wins ? sum / wins : best);
  }
  return scores;
}
