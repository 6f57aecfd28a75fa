// Coarse maps → label map and person map of the photo's size. postprocess/paste.py explains why
// most of a photo can be filled without sampling, and why that is exact.

/** Paint both maps: {labelMap: Uint8Array, personMap: Uint16Array}, row by row. */
export function paint({ scores, persons, parts, foreground, grid }, geometry, { stride }) {
  const pixels = geometry.width * geometry.height;
  const [labelMap, personMap] = [new Uint8Array(pixels), new Uint16Array(pixels)];
  if (scores.length) {
    const across = axisOf(geometry.width, geometry.resizedWidth / stride, grid.columns);
    const down = axisOf(geometry.height, geometry.resizedHeight / stride, grid.rows);
    pasteWinners(parts, foreground, grid, { across, down }, labelMap);
    pasteWinners(persons, foreground, grid, { across, down }, personMap);
  }
  return { labelMap, personMap };
}

/** How the photo's pixels lie between cells along one side.
 *
 * length: of the photo's side in cells. Pixels starts[i] to starts[i + 1] lie between the cells
 * i - 1 and i; share: the weight of the second one for each pixel.
 */
function axisOf(pixels, length, cells) {
  const starts = new Int32Array(cells + 2).fill(pixels);
  const share = new Float32Array(pixels);
  for (let at = pixels - 1; at >= 0; at--) {
    const place = ((at + 0.5) * length) / pixels + 0.5;
    const inside = Math.max(0, Math.min(cells + 1 - 1e-6, place));
    const first = Math.floor(inside);
    share[at] = inside - first;
    starts[first] = at;
  }
  for (let i = cells; i >= 0; i--) starts[i] = Math.min(starts[i], starts[i + 1]);
  return { starts, share };
}

/** Write k + 1 wherever map k is the highest and the foreground positive. */
function pasteWinners(maps, foreground, { rows, columns }, { across, down }, out) {
  const cells = rows * columns;
  const width = across.share.length;
  for (let i = 0; i <= rows; i++) {
    const [top, bottom] = [down.starts[i], down.starts[i + 1]];
    if (top === bottom) continue;
    const [above, below] = [Math.max(0, i - 1), Math.min(rows - 1, i)].map((row) => row * columns);
    for (let j = 0; j <= columns; j++) {
      const [left, right] = [across.starts[j], across.starts[j + 1]];
      if (left === right) continue;
      const [west, east] = [Math.max(0, j - 1), Math.min(columns - 1, j)];
      const corners = [above + west, above + east, below + west, below + east];
      const inside = corners.filter((corner) => foreground[corner] > 0).length;
      if (!inside) continue;
      const patch = { left, right, top, bottom };
      const rivals = mayWin(maps, cells, corners);
      if (inside === 4 && rivals.length === 1) {
        for (let y = top; y < bottom; y++)
          out.fill(rivals[0] + 1, y * width + left, y * width + right);
      } else {
        sample(maps, cells, rivals, foreground, corners, patch, { across, down }, out);
      }
    }
  }
}

/** The maps that can win between four cells: those that reach the others' lowest values. */
function mayWin(maps, cells, [a, b, c, d]) {
  let floor = -Infinity;
  for (let at = 0; at < maps.length; at += cells)
    floor = Math.max(floor, Math.min(maps[at + a], maps[at + b], maps[at + c], maps[at + d]));
  const found = [];
  for (let k = 0, at = 0; at < maps.length; k++, at += cells)
    if (Math.max(maps[at + a], maps[at + b], maps[at + c], maps[at + d]) >= floor) found.push(k);
  return found;
}

/** Compute a patch pixel by pixel. */
function sample(maps, cells, rivals, foreground, corners, patch, { across, down }, out) {
  const width = across.share.length;
  const edges = new Float64Array(4 * (rivals.length + 1)); // the foreground's corners, then theirs
  corners.forEach((corner, which) => {
    edges[which] = foreground[corner];
    rivals.forEach((k, r) => (edges[4 * (r + 1) + which] = maps[k * cells + corner]));
  });
  for (let y = patch.top; y < patch.bottom; y++) {
    for (let x = patch.left; x < patch.right; x++) {
      if (between(edges, 0, across.share[x], down.share[y]) <= 0) continue;
      let best = -Infinity;
      let who = 0;
      for (let r = 0; r < rivals.length; r++) {
        const score = between(edges, r + 1, across.share[x], down.share[y]);
        if (score > best) {
          best = score;
          who = r;
        }
      }
      out[y * width + x] = rivals[who] + 1;
    }
  }
}

/** The value of one map inside a patch; x, y: from 0 at the first corner to 1 at the last. */
function between(edges, which, x, y) {
  const at = 4 * which;
  const left = edges[at] + (edges[at + 2] - edges[at]) * y;
  const right = edges[at + 1] + (edges[at + 3] - edges[at + 1]) * y;
  return left + (right - left) * x;
}
