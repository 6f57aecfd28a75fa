// Small pieces of people and parts are mistakes more often than not. As postprocess/cleanup.py,
// where the rules are explained; the thresholds are in model.json.
//
// All change the maps that they are given.

import { components, near, winner } from './cells.js';

const largestOf = (regions) => regions.reduce((most, region) => Math.max(most, region.length), 0);

/** Unassign small components that are not connected to the rest of their person. */
export function dropIslands(owner, count, grid, share) {
  for (let index = 0; index < count; index++) {
    const regions = components(
      Uint8Array.from(owner, (one) => one === index),
      grid,
    );
    const least = share * largestOf(regions);
    for (const region of regions)
      if (region.length < least) for (const cell of region) owner[cell] = -1;
  }
}

/** The mean of each of K maps over each person's cells: an array of Float64Array (K). */
export function personMeans(maps, owner, count) {
  const cells = owner.length;
  const sums = Array.from({ length: count }, () => new Float64Array(maps.length / cells));
  const counts = new Int32Array(count);
  for (let cell = 0; cell < cells; cell++) {
    if (owner[cell] < 0) continue;
    counts[owner[cell]]++;
    const mine = sums[owner[cell]];
    for (let k = 0; k < mine.length; k++) mine[k] += maps[k * cells + cell];
  }
  return sums.map((values, index) => values.map((sum) => sum / Math.max(1, counts[index])));
}

/** Lower each person's minor garments by how small they are next to the main one. */
export function oneOutfit(parts, probability, owner, count, model) {
  const cells = owner.length;
  const garments = model.giving_way.map(([number, power]) => [number - 1, power]);
  for (let index = 0; index < count && garments.length; index++) {
    const amounts = garments.map(([row]) => {
      let sum = 0;
      for (let cell = 0; cell < cells; cell++)
        if (owner[cell] === index) sum += probability[row * cells + cell];
      return sum;
    });
    const most = Math.max(model.faintest, ...amounts);
    garments.forEach(([row, power], which) => {
      const lower = power * Math.log(Math.max(amounts[which] / most, model.least_share));
      for (let cell = 0; cell < cells; cell++)
        if (owner[cell] === index) parts[row * cells + cell] += lower;
    });
  }
}

/** Push down hair, hats and glasses that are not connected to a face, if the person has one. */
export function dropFaceless(parts, owner, count, grid, { heads, faces, push }) {
  if (!faces.length) return;
  const cells = owner.length;
  const part = winner(parts, cells);
  for (let index = 0; index < count; index++) {
    const onHead = owner.map((one, cell) => one === index && heads.includes(part[cell] + 1));
    const regions = components(Uint8Array.from(onHead), grid);
    const faceless = regions.filter((region) =>
      region.every((cell) => !faces.includes(part[cell] + 1)),
    );
    if (faceless.length === regions.length) continue;
    for (const cell of faceless.flat())
      for (const number of heads) parts[(number - 1) * cells + cell] -= push;
  }
}

/** Turn small patches into the part that lies along most of their edge. */
export function joinPatches(parts, owner, count, grid, model) {
  const cells = owner.length;
  const part = winner(parts, cells);
  const garments = new Set(model.giving_way.map(([number]) => number - 1));
  const { patch, garment_patch: garmentPatch } = model.settings;
  for (let index = 0; index < count; index++) {
    const mine = [...owner.keys()].filter((cell) => owner[cell] === index);
    for (const c of new Set(mine.map((cell) => part[cell]).toSorted((a, b) => a - b))) {
      const here = new Uint8Array(cells);
      for (const cell of mine) here[cell] = part[cell] === c;
      const most = (garments.has(c) ? garmentPatch : patch) * mine.length;
      for (const region of components(here, grid))
        if (region.length < most) joinPatch(parts, part, owner, region, grid, model);
    }
  }
}

function joinPatch(parts, part, owner, region, grid, { settings, push }) {
  const cells = owner.length;
  const [c, index, inPatch] = [part[region[0]], owner[region[0]], new Set(region)];
  const ring = new Set(region.flatMap((cell) => near(cell, grid, 8)));
  const counts = new Int32Array(parts.length / cells);
  let edge = 0;
  for (const cell of ring) {
    if (inPatch.has(cell) || owner[cell] !== index) continue;
    counts[part[cell]]++;
    edge++;
  }
  const other = counts.indexOf(Math.max(...counts));
  if (!counts[other] || counts[other] < settings.surrounded * edge) return;
  for (const cell of region) {
    let best = -Infinity;
    for (let at = cell; at < parts.length; at += cells) best = Math.max(best, parts[at]);
    parts[other * cells + cell] = best;
    parts[c * cells + cell] -= push;
    part[cell] = other;
  }
}
