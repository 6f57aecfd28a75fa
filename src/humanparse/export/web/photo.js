// A photo, upright, as strips of its pixels.

import { Failure } from './failure.js';

const STRIP_PX = 1 << 20; // pixels that are copied at the same time
const STARTS = ['\xff\xd8\xff', '\x89PNG', 'GIF8', 'RIFF', 'BM']; // of files of pictures

/** Decode a photo.
 *
 * source: Blob, ImageBitmap or ImageData. maxPixels: what has more is shrunk.
 * Returns {width, height, original: {width, height}, strips(), close()}; strips() yields
 * {top, rows, data}: RGBA, on white, row by row.
 * Throws a Failure: not_an_image, broken_image.
 */
export async function openPhoto(source, maxPixels) {
  let bitmap = await decode(source);
  const original = { width: bitmap.width, height: bitmap.height };
  const scale = Math.sqrt(maxPixels / (bitmap.width * bitmap.height));
  if (scale < 1) {
    const large = bitmap;
    bitmap = await createImageBitmap(large, {
      resizeWidth: Math.max(1, Math.floor(large.width * scale)),
      resizeHeight: Math.max(1, Math.floor(large.height * scale)),
      resizeQuality: 'high',
    });
    large.close();
  }
  const { width, height } = bitmap;
  return { width, height, original, strips: () => strips(bitmap), close: () => bitmap.close() };
}

async function decode(source) {
  try {
    // Colours stay as the file has them, as in Python.
    return await createImageBitmap(source, { colorSpaceConversion: 'none' });
  } catch (error) {
    if (!(source instanceof Blob))
      throw new Failure('broken_image', `the picture cannot be read: ${error.message}`);
    const start = String.fromCharCode(...new Uint8Array(await source.slice(0, 16).arrayBuffer()));
    if (STARTS.some((one) => start.startsWith(one)) || start.slice(4, 8) === 'ftyp')
      throw new Failure(
        'broken_image',
        `the picture cannot be decoded; it is damaged, too large (${source.size} bytes) or of a ` +
          'type that this browser does not read; save it again as JPEG or PNG',
      );
    throw new Failure(
      'not_an_image',
      source.size
        ? 'this file is no picture; expected JPEG, PNG, WebP, GIF, BMP or AVIF'
        : 'this file is empty (0 bytes); expected a picture',
    );
  }
}

function* strips(bitmap) {
  const { width, height } = bitmap;
  const most = Math.min(height, Math.max(1, Math.floor(STRIP_PX / width)));
  const canvas = new OffscreenCanvas(width, most);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  for (let top = 0; top < height; top += most) {
    const rows = Math.min(most, height - top);
    context.fillStyle = 'white';
    context.fillRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -top);
    yield { top, rows, data: context.getImageData(0, 0, width, rows).data };
  }
}
