// Cells of the network's coarse maps: a cell is a number, row by row; maps of K channels are
// Float32Array (K · cells), one after the other.

// The four cells beside a cell, then the four at its corners, as [across, down].
const AROUND = [
  [0, -1],
  [-1, 0],
  [1, 0],
  [0, 1],
  [-1, -1],
  [1, -1],
  [-1, 1],
  [1, 1],
];

/** The first of the highest of K maps at each cell, Uint8Array (cells). */
export function winner(maps, cells) {
  const wins = new Uint8Array(cells);
  const best = maps.slice(0, cells);
  for (let k = 1, at = cells; at < maps.length; k++) {
    for (let cell = 0; cell < cells; cell++, at++) {
      if (maps[at] > best[cell]) {
        best[cell] = maps[at];
        wins[cell] = k;
      }
    }
  }
  return wins;
}

/** The highest of K maps at each cell, Float32Array (cells). */
export function highest(maps, cells) {
  const best = maps.slice(0, cells);
  for (let at = cells, cell = 0; at < maps.length; at++) {
    if (maps[at] > best[cell]) best[cell] = maps[at];
    if (++cell === cells) cell = 0;
  }
  return best;
}

/** The cells of each person: an array of arrays. owner: the person of each cell, -1 for nobody. */
export function cellsByPerson(owner, count) {
  const found = Array.from({ length: count }, () => []);
  for (let cell = 0; cell < owner.length; cell++)
    if (owner[cell] >= 0) found[owner[cell]].push(cell);
  return found;
}

/** The connected components of the cells that are 1, in the order of their first cells.
 *
 * neighbours: 4 or 8. Returns an array of arrays of cells; `here` is all 0 afterwards.
 */
export function components(here, grid, neighbours = 8) {
  const found = [];
  for (let first = 0; first < here.length; first++) {
    if (!here[first]) continue;
    here[first] = 0;
    const region = [first];
    for (let next = 0; next < region.length; next++) {
      forNear(region[next], grid, neighbours, (other) => {
        if (!here[other]) return;
        here[other] = 0;
        region.push(other);
      });
    }
    found.push(region);
  }
  return found;
}

/** Call `visit` with each of the 4 or 8 neighbours of a cell. */
export function forNear(cell, { rows, columns }, neighbours, visit) {
  const x = cell % columns;
  const y = (cell - x) / columns;
  for (let which = 0; which < neighbours; which++) {
    const across = x + AROUND[which][0];
    const down = y + AROUND[which][1];
    if (across >= 0 && across < columns && down >= 0 && down < rows) visit(down * columns + across);
  }
}
