// Small pieces of people and parts are mistakes more often than not. As postprocess/cleanup.py,
// where the rules are explained; the thresholds are in model.json.
//
// parts: maps of the classes without the background, changed in place. people: the cells of each
// person, an array of arrays.

import { components, forNear, winner } from './cells.js';

/** Return the cells that are not connected to the rest of their person. */
export function islands(people, grid, share) {
  return people.flatMap((cells) => {
    const regions = components(marked(cells, grid), grid);
    const largest = regions.reduce((most, region) => Math.max(most, region.length), 0);
    return regions.filter((region) => region.length < share * largest).flat();
  });
}

function marked(some, { rows, columns }) {
  const here = new Uint8Array(rows * columns);
  for (const cell of some) here[cell] = 1;
  return here;
}

/** Push down hair, hats and glasses that are not connected to a face, if the person has one. */
export function dropFaceless(parts, people, grid, { heads, faces, push }) {
  const cells = grid.rows * grid.columns;
  const part = winner(parts, cells);
  for (const mine of people) {
    const onHead = mine.filter((cell) => heads.includes(part[cell] + 1));
    const regions = components(marked(onHead, grid), grid);
    const faceless = regions.filter(
      (region) => !region.some((cell) => faces.includes(part[cell] + 1)),
    );
    if (faceless.length === regions.length) continue;
    for (const cell of faceless.flat())
      for (const number of heads) parts[(number - 1) * cells + cell] -= push;
  }
}

/** Turn small patches into the part that lies along most of their edge. */
export function joinPatches(parts, owner, people, grid, model) {
  const part = winner(parts, owner.length);
  const { patch, garment_patch: garmentPatch } = model.settings;
  for (const mine of people) {
    const classes = [...new Set(mine.map((cell) => part[cell]))].toSorted((a, b) => a - b);
    for (const c of classes) {
      const most = (model.garments.includes(c + 1) ? garmentPatch : patch) * mine.length;
      const here = marked(
        mine.filter((cell) => part[cell] === c),
        grid,
      );
      for (const region of components(here, grid))
        if (region.length < most) joinPatch(parts, part, owner, region, grid, model);
    }
  }
}

function joinPatch(parts, part, owner, region, grid, { settings, push }) {
  const cells = owner.length;
  const [c, index] = [part[region[0]], owner[region[0]]];
  const [patch, ring] = [new Set(region), new Set()];
  for (const cell of region) {
    forNear(cell, grid, 8, (other) => {
      if (owner[other] === index && !patch.has(other)) ring.add(other);
    });
  }
  const counts = new Int32Array(parts.length / cells);
  for (const cell of ring) counts[part[cell]]++;
  const most = Math.max(...counts);
  if (!most || most < settings.surrounded * ring.size) return;
  const other = counts.indexOf(most);
  for (const cell of region) {
    let best = -Infinity;
    for (let at = cell; at < parts.length; at += cells) best = Math.max(best, parts[at]);
    parts[other * cells + cell] = best;
    parts[c * cells + cell] -= push;
    part[cell] = other;
  }
}
