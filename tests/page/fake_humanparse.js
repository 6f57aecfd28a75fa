// Stands in for humanparse.js: finds one person in the left half of every photo, when the test lets
// it. globalThis.fake: {load, parse}, promises or functions that return them.

export class HumanParser {
  static async load({ onProgress }) {
    onProgress({ loaded: 3, total: 10, what: 'model' });
    await globalThis.fake?.load?.();
    onProgress({ loaded: 10, total: 10, what: 'model' });
    return new HumanParser();
  }

  async parse(file) {
    globalThis.parsed = [...(globalThis.parsed ?? []), file.name];
    const original = (await globalThis.fake?.parse?.()) ?? { width: 4, height: 2 };
    const mask = { size: [2, 4], counts: '044' };
    const region = { box: [0, 0, 2, 2], area: 4, score: 0.9, mask };
    const person = { id: 1, ...region, parts: [{ label: 'Face', class_id: 13, ...region }] };
    const toJSON = () => ({
      schema: 'humanparse/1',
      name: 'fake',
      model: 'fake',
      width: 4,
      height: 2,
      labels: ['Background'],
      people: [person],
      loose_parts: [],
    });
    return { width: 4, height: 2, original, toJSON };
  }
}
