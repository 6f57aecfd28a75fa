// Decodes a picture's file, upright as the server sees it; null if this browser cannot read it.

const MAX_SHOWN = 12_000_000; // pixels kept for the screen; files are drawn in full size

/** Decode the whole photo. */
export async function fullPhoto(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: 'from-image' });
  } catch {
    return null;
  }
}

/** Decode the photo for the screen. */
export async function shownPhoto(file) {
  const photo = await fullPhoto(file);
  if (!photo || photo.width * photo.height <= MAX_SHOWN) return photo;
  const small = scaled(photo, Math.sqrt(MAX_SHOWN / (photo.width * photo.height)));
  photo.close();
  return small.transferToImageBitmap();
}

/** Make a JPEG of the photo that stays below both limits, or return null. */
export async function shrunk(file, { maxBytes = Infinity, maxPixels = Infinity }) {
  const photo = await fullPhoto(file);
  if (!photo) return null;
  let scale = Math.min(1, Math.sqrt((0.95 * maxPixels) / (photo.width * photo.height)));
  for (; scale > 0.02; scale *= 0.7) {
    const blob = await scaled(photo, scale).convertToBlob({ type: 'image/jpeg', quality: 0.9 });
    if (blob.size < 0.95 * maxBytes) return new File([blob], file.name, { type: 'image/jpeg' });
  }
  return null;
}

function scaled(photo, scale) {
  const canvas = new OffscreenCanvas(
    Math.max(1, Math.floor(photo.width * scale)),
    Math.max(1, Math.floor(photo.height * scale)),
  );
  const ctx = canvas.getContext('2d');
  ctx.imageSmoothingQuality = 'high';
  ctx.drawImage(photo, 0, 0, canvas.width, canvas.height);
  return canvas;
}
