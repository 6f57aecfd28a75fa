// The model's card, which says of a model file what it is (card.py) and travels inside it.

const KEY = 'humanparse';
const METADATA = 14; // the field of ONNX's ModelProto that holds pairs of texts

/** Read the card of an .onnx file, a Uint8Array. Returns it as an object, or null without one. */
export function cardOf(model) {
  for (const [field, value] of fieldsOf(model)) {
    if (field !== METADATA) continue;
    const [key, text] = [...fieldsOf(value)].map(([, bytes]) => new TextDecoder().decode(bytes));
    if (key === KEY) return JSON.parse(text);
  }
  return null;
}

/** Yield the number and the bytes of each field of a protobuf message that has a length.
 *
 * Fields that are single numbers are passed over.
 */
function* fieldsOf(message) {
  const skipped = { 1: 8, 5: 4 }; // bytes of numbers of fixed size, by their wire type
  let at = 0;
  while (at < message.length) {
    const tag = varint();
    const type = tag % 8;
    if (type === 0) varint();
    else if (type === 2) {
      const length = varint();
      yield [Math.floor(tag / 8), message.subarray(at, (at += length))];
    } else if (skipped[type]) at += skipped[type];
    else throw new Error(`wire type ${type} is none of ONNX's`);
  }

  function varint() {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++];
      value += (byte % 128) * scale;
      if (!(byte >= 128)) return value;
    }
  }
}
