// Writes PNG files with exact pixels: a canvas can only write RGBA, and may be too small for large
// photos.

import { crc32 } from './crc32.js';

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const [RGB, INDEXED] = [2, 3];

/** Make an 8-bit indexed PNG.
 *
 * values: Uint8Array of width × height; palette: up to 256 colours [r, g, b].
 */
export function indexedPng(width, height, values, palette) {
  const colours = new Uint8Array(256 * 3); // all 256, as simple readers expect
  palette.forEach((colour, i) => colours.set(colour, 3 * i));
  return png(width, height, INDEXED, [chunk('PLTE', colours)], (row, y) =>
    row.set(values.subarray(y * width, (y + 1) * width), 1),
  );
}

/** Make an RGB PNG. colourAt: returns [r, g, b] of the pixel with that index. */
export function rgbPng(width, height, colourAt) {
  return png(width, height, RGB, [], (row, y) => {
    for (let x = 0; x < width; x++) row.set(colourAt(y * width + x), 1 + 3 * x);
  });
}

async function png(width, height, kind, chunks, fill) {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits per channel
  header.setUint8(9, kind);
  const rows = compressed(width * (kind === RGB ? 3 : 1), height, fill);
  const parts = [
    new Uint8Array(SIGNATURE),
    chunk('IHDR', new Uint8Array(header.buffer)),
    ...chunks,
  ];
  return new Blob([...parts, chunk('IDAT', await rows), chunk('IEND', new Uint8Array(0))], {
    type: 'image/png',
  });
}

/** Compress the rows with zlib, each after a 0 for "no filter". */
async function compressed(bytesPerRow, height, fill) {
  const packer = new CompressionStream('deflate');
  const packed = new Response(packer.readable).arrayBuffer();
  const writer = packer.writable.getWriter();
  const band = Math.max(1, Math.floor(1_000_000 / bytesPerRow));
  for (let top = 0; top < height; top += band) {
    const rows = new Uint8Array((bytesPerRow + 1) * Math.min(band, height - top));
    for (let y = 0; y * (bytesPerRow + 1) < rows.length; y++) {
      fill(rows.subarray(y * (bytesPerRow + 1), (y + 1) * (bytesPerRow + 1)), top + y);
    }
    await writer.write(rows);
  }
  await writer.close();
  return new Uint8Array(await packed);
}

/** Return length, name, content, and the checksum of the latter two. */
function chunk(name, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(
    [...name].map((letter) => letter.charCodeAt(0)),
    4,
  );
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}
