// Writes a zip of files that are compressed already, so they are only stored.

import { crc32 } from './crc32.js';

const UTF8_NAMES = 0x0800;
const VERSION = 20;

/** Return a zip as a Blob. files: [{name, blob}], names with "/" between folders. */
export async function zip(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const path = new TextEncoder().encode(name);
    const common = [
      [2, VERSION],
      [2, UTF8_NAMES],
      [2, 0],
      ...dosTime(new Date()),
      [4, crc32(bytes)],
      [4, bytes.length],
      [4, bytes.length],
      [2, path.length],
      [2, 0],
    ];
    const head = numbers([[4, 0x04034b50], ...common]);
    parts.push(head, path, bytes);
    // The directory has more fields: the version that made it, and, after the lengths, comment,
    // disk, attributes and offset.
    directory.push(
      numbers([
        [4, 0x02014b50],
        [2, VERSION],
        ...common,
        [2, 0],
        [2, 0],
        [2, 0],
        [4, 0],
        [4, offset],
      ]),
      path,
    );
    offset += head.length + path.length + bytes.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = numbers([
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, files.length],
    [2, files.length],
    [4, length],
    [4, offset],
    [2, 0],
  ]);
  return new Blob([...parts, ...directory, end], { type: 'application/zip' });
}

/** Encode [[number of bytes, value], …] as little-endian bytes. */
function numbers(fields) {
  const bytes = new Uint8Array(fields.reduce((sum, [size]) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return bytes;
}

function dosTime(date) {
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  return [
    [2, time],
    [2, day],
  ];
}
