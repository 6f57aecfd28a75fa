// Photo → network input: resize, normalise, pad. As preprocess.py does it with OpenCV.

/** Where a photo lies in the network's input, all in pixels.
 *
 * Returns {width, height, resizedWidth, resizedHeight, inputWidth, inputHeight}.
 */
export function geometryOf({ width, height }, rule) {
  const scale = rule.area_px
    ? Math.sqrt(rule.area_px / (height * width))
    : rule.short_side / Math.min(height, width);
  const shrink = Math.min(1, rule.max_long_side / (Math.max(height, width) * scale));
  const resized = (side) => Math.max(1, Math.floor(side * scale * shrink + 0.5));
  const padded = (side) => Math.ceil(side / rule.multiple) * rule.multiple;
  const [resizedWidth, resizedHeight] = [resized(width), resized(height)];
  return {
    width,
    height,
    resizedWidth,
    resizedHeight,
    inputWidth: padded(resizedWidth),
    inputHeight: padded(resizedHeight),
  };
}

/** Make the network's input: Float32Array (3, inputHeight, inputWidth), zero around the photo. */
export function networkInput(photo, geometry, { mean, std }) {
  const { resizedWidth: width, resizedHeight: height, inputWidth, inputHeight } = geometry;
  const shrinks = height * width < photo.height * photo.width;
  const small = (shrinks ? shrunk : enlarged)(photo, width, height); // RGB, row by row
  const input = new Float32Array(3 * inputHeight * inputWidth);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < height; y++) {
      const to = (channel * inputHeight + y) * inputWidth;
      for (let x = 0; x < width; x++)
        input[to + x] = (small[3 * (y * width + x) + channel] - mean[channel]) / std[channel];
    }
  }
  return input;
}

/** Each pixel is the mean of the photo's pixels, and fractions of them, that it covers. */
function shrunk(photo, width, height) {
  const across = cover(photo.width, width);
  const down = cover(photo.height, height);
  const sums = new Float32Array(3 * width * (height + 1)); // the last row takes what has no weight
  const line = new Float64Array(3 * (width + 1));
  for (const { top, rows, data } of photo.strips()) {
    for (let row = 0; row < rows; row++) {
      line.fill(0);
      addPixels(data, 4 * row * photo.width, across, line);
      const share = down.share[top + row];
      const to = 3 * width * down.first[top + row];
      for (let i = 0; i < 3 * width; i++) sums[to + i] += line[i] * share;
      if (share === 1) continue;
      for (let i = 0; i < 3 * width; i++) sums[to + 3 * width + i] += line[i] * (1 - share);
    }
  }
  const area = (photo.width / width) * (photo.height / height);
  const means = new Uint8Array(3 * width * height);
  for (let i = 0; i < means.length; i++) means[i] = Math.round(sums[i] / area);
  return means;
}

/** Add a row of RGBA to the sums of the cells that it lies in. */
function addPixels(data, from, { first, share }, line) {
  for (let x = 0, at = from; x < first.length; x++, at += 4) {
    const to = 3 * first[x];
    const part = share[x];
    line[to] += data[at] * part;
    line[to + 1] += data[at + 1] * part;
    line[to + 2] += data[at + 2] * part;
    if (part === 1) continue;
    line[to + 3] += data[at] * (1 - part);
    line[to + 4] += data[at + 1] * (1 - part);
    line[to + 5] += data[at + 2] * (1 - part);
  }
}

/** For each pixel along one side, the first cell that it lies in and its share of it. */
function cover(pixels, cells) {
  const first = new Int32Array(pixels);
  const share = new Float64Array(pixels);
  const step = pixels / cells;
  for (let at = 0; at < pixels; at++) {
    first[at] = Math.min(cells - 1, Math.floor(at / step));
    const end = first[at] === cells - 1 ? pixels : (first[at] + 1) * step;
    share[at] = Math.min(1, end - at);
  }
  return { first, share };
}

/** Bilinear, with weights of 11 bits and rounded down twice, as OpenCV does it for bytes. */
function enlarged(photo, width, height) {
  const pixels = new Uint8ClampedArray(4 * photo.width * photo.height);
  for (const { top, data } of photo.strips()) pixels.set(data, 4 * top * photo.width);
  const [across, down] = [between(photo.width, width), between(photo.height, height)];
  const large = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    const [above, below] = [down.lower[y], down.upper[y]].map((row) => 4 * row * photo.width);
    for (let x = 0; x < width; x++) {
      const [left, right] = [4 * across.lower[x], 4 * across.upper[x]];
      const [near, far] = [across.near[x], across.far[x]];
      for (let c = 0; c < 3; c++) {
        const high = (pixels[above + left + c] * near + pixels[above + right + c] * far) >> 4;
        const low = (pixels[below + left + c] * near + pixels[below + right + c] * far) >> 4;
        const sum = ((high * down.near[y]) >> 16) + ((low * down.far[y]) >> 16);
        large[3 * (y * width + x) + c] = (sum + 2) >> 2;
      }
    }
  }
  return large;
}

/** For each of `wanted` places the two nearest pixels, and their weights, which add up to 2048. */
function between(pixels, wanted) {
  const made = { lower: [], upper: [], near: [], far: [] };
  for (let at = 0; at < wanted; at++) {
    const place = Math.fround(((at + 0.5) * pixels) / wanted - 0.5);
    const first = Math.floor(place);
    const inside = (pixel) => Math.max(0, Math.min(pixels - 1, pixel));
    made.lower.push(inside(first));
    made.upper.push(inside(first + 1));
    made.near.push(Math.round((1 - (place - first)) * 2048));
    made.far.push(Math.round((place - first) * 2048));
  }
  return made;
}
