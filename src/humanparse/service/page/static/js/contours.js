// The outline of a region of a map as a smooth path, so that lines stay crisp at any zoom.

// In map pixels: a line this close to the photo's border follows the border, and is moved this far
// outside, where it is not visible.
const NEAR = 2;
const BEYOND = 12;

/** Return the outline of the pixels for which `inside(index)` is true, a Path2D in photo pixels.
 *
 * maps: from `decode` in maps.js; box: x0, y0, x1, y1 of the region in photo pixels.
 */
export function outline(maps, box, inside) {
  const path = new Path2D();
  for (const loop of loops(maps, box, inside)) {
    const points = smooth(smooth(loop));
    const step = points.length > 60 ? 2 : 1;
    path.moveTo(points[0][0] / maps.scale, points[0][1] / maps.scale);
    for (let i = step; i < points.length; i += step)
      path.lineTo(points[i][0] / maps.scale, points[i][1] / maps.scale);
    path.closePath();
  }
  return path;
}

/** Return the closed lines around a region, without those of specks.
 *
 * Each is a list of the midpoints of the pixel edges that it follows.
 */
function loops(maps, box, inside) {
  const x0 = Math.max(0, Math.floor(box[0] * maps.scale) - 1);
  const y0 = Math.max(0, Math.floor(box[1] * maps.scale) - 1);
  const x1 = Math.min(maps.width, Math.ceil(box[2] * maps.scale) + 1);
  const y1 = Math.min(maps.height, Math.ceil(box[3] * maps.scale) + 1);
  const wide = x1 - x0 + 2; // a margin of unset pixels spares the walk checks for borders
  const mask = new Uint8Array(wide * (y1 - y0 + 2));
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++)
      if (inside(y * maps.width + x)) mask[(y - y0 + 1) * wide + x - x0 + 1] = 1;
  }
  const found = [];
  for (let at = wide; at < mask.length; at++) {
    // start at the upper edge of a pixel that no walk has passed
    if (mask[at] !== 1 || mask[at - wide]) continue;
    found.push(
      walk(mask, wide, at).map(([x, y]) => [
        led(x + x0 - 1, maps.width),
        led(y + y0 - 1, maps.height),
      ]),
    );
  }
  const longest = Math.max(0, ...found.map((loop) => loop.length));
  return found.filter((loop) => loop.length >= Math.min(16, longest));
}

/** Follow one line with the region on its right.
 *
 * Marks the upper edges that it passes by setting their pixels to 2.
 */
function walk(mask, wide, start) {
  const ahead = [1, wide, -1, -wide]; // east, south, west, north
  // for each heading, from a corner: the pixel ahead on the right
  const right = [0, -1, -1 - wide, -wide];
  const points = [];
  let [corner, heading] = [start, 0];
  do {
    if (heading === 0) mask[corner] = 2;
    const x = corner % wide;
    const y = (corner - x) / wide;
    points.push([x + [0.5, 0, -0.5, 0][heading], y + [0, 0.5, 0, -0.5][heading]]);
    corner += ahead[heading];
    const left = right[(heading + 3) % 4];
    if (mask[corner + left]) heading = (heading + 3) % 4;
    else if (!mask[corner + right[heading]]) heading = (heading + 1) % 4;
  } while (corner !== start || heading !== 0);
  return points;
}

const led = (at, end) => (at <= NEAR ? -BEYOND : at >= end - NEAR ? end + BEYOND : at);

/** Move each point to the mean of its neighbours and itself, which counts twice. */
function smooth(points) {
  const count = points.length;
  return points.map(([x, y], i) => {
    const before = points[(i + count - 1) % count];
    const after = points[(i + 1) % count];
    return [(before[0] + 2 * x + after[0]) / 4, (before[1] + 2 * y + after[1]) / 4];
  });
}
