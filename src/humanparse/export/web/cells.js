// Cells of the network's coarse maps: a cell is a number, row by row; maps of K channels are
// Float32Array (K · cells), one after the other.

// The four cells beside a cell, and the four at its corners, as [across, down].
const BESIDE = [
  [0, -1],
  [-1, 0],
  [1, 0],
  [0, 1],
];
const CORNERS = [
  [-1, -1],
  [1, -1],
  [-1, 1],
  [1, 1],
];
const AROUND = BESIDE.concat(CORNERS);

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
      for (const other of near(region[next], grid, neighbours)) {
        if (!here[other]) continue;
        here[other] = 0;
        region.push(other);
      }
    }
    found.push(region);
  }
  return found;
}

/** The neighbours of a cell, 4 or 8, that there are. */
export function near(cell, { rows, columns }, neighbours) {
  const [x, y] = [cell % columns, Math.floor(cell / columns)];
  const cells = [];
  for (let which = 0; which < neighbours; which++) {
    const [across, down] = AROUND[which];
    const inside = x + across >= 0 && x + across < columns && y + down >= 0 && y + down < rows;
    if (inside) cells.push(cell + down * columns + across);
  }
  return cells;
}
