// Maps → people and their parts, with boxes, areas and masks. As postprocess/assemble.py.

/** Cut people and parts out of the maps.
 *
 * Changes the maps: people below the least score are removed, and the others are numbered without
 * gaps; parts below it lose their label. Returns the people as docs/json.md describes them.
 */
export function regionsOf({ labelMap, personMap }, { scores, partScores }, geometry, model) {
  const { width, height } = geometry;
  const boxes = boxesOf(personMap, width, scores.length);
  const order = [...scores.keys()].filter(
    (index) => boxes[index].right > 0 && scores[index] >= model.min_score,
  );
  const numbers = new Uint16Array(scores.length + 1);
  order.forEach((index, number) => (numbers[index + 1] = number + 1));
  for (let at = 0; at < personMap.length; at++) {
    const index = personMap[at] - 1;
    personMap[at] = numbers[index + 1];
    if (!personMap[at] || partScores[index][labelMap[at]] < model.min_score) labelMap[at] = 0;
  }
  return order.map((index, number) => {
    const { person, parts } = drawn(number + 1, boxes[index], labelMap, personMap, {
      width,
      height,
    });
    return {
      id: number + 1,
      score: rounded(scores[index]),
      ...person,
      parts: [...parts.entries()]
        .toSorted(([a], [b]) => a - b)
        .map(([classId, region]) => ({
          label: model.classes[classId],
          class_id: classId,
          score: rounded(partScores[index][classId]),
          ...region.described(),
        })),
    };
  });
}

const rounded = (score) => Math.round(score * 1e4) / 1e4;

/** The box of each person: {left, top, right, bottom}, half-open; right is 0 without a pixel. */
function boxesOf(personMap, width, count) {
  const boxes = Array.from({ length: count }, () => ({
    left: Infinity,
    top: Infinity,
    right: 0,
    bottom: 0,
  }));
  for (let y = 0, at = 0; at < personMap.length; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!personMap[at]) continue;
      const box = boxes[personMap[at] - 1];
      if (x < box.left) box.left = x;
      if (x >= box.right) box.right = x + 1;
      if (y < box.top) box.top = y;
      box.bottom = y + 1;
    }
  }
  return boxes;
}

/** The regions of a person and of their parts, by one walk down the columns of their box. */
function drawn(id, box, labelMap, personMap, { width, height }) {
  const person = new Region(width, height);
  const parts = new Map(); // class → Region
  for (let x = box.left; x < box.right; x++) {
    for (let y = box.top; y < box.bottom;) {
      const [top, classId] = [y, labelMap[y * width + x]];
      const mine = personMap[y * width + x] === id;
      while (y < box.bottom) {
        const at = y * width + x;
        if ((personMap[at] === id) !== mine || labelMap[at] !== classId) break;
        y++;
      }
      if (!mine) continue;
      person.add(x, top, y);
      if (!classId) continue;
      if (!parts.has(classId)) parts.set(classId, new Region(width, height));
      parts.get(classId).add(x, top, y);
    }
  }
  return { person: person.described(), parts };
}

/** A set of pixels, which are added column by column from the top of each. */
class Region {
  #runs = []; // where a run begins, where it ends, …, counted down the columns of the photo
  #box = [Infinity, Infinity, 0, 0];
  #area = 0;

  constructor(width, height) {
    this.size = [height, width];
  }

  /** Add the pixels of column x from top to before bottom. */
  add(x, top, bottom) {
    const start = x * this.size[0];
    if (this.#runs.at(-1) === start + top) this.#runs[this.#runs.length - 1] = start + bottom;
    else this.#runs.push(start + top, start + bottom);
    const box = this.#box;
    if (x < box[0]) box[0] = x;
    if (top < box[1]) box[1] = top;
    if (x >= box[2]) box[2] = x + 1;
    if (bottom > box[3]) box[3] = bottom;
    this.#area += bottom - top;
  }

  /** As in docs/json.md: {box, area, mask}, the mask in COCO's compressed run lengths. */
  described() {
    const [height, width] = this.size;
    const edges = [0, ...this.#runs];
    if (edges.at(-1) !== height * width) edges.push(height * width);
    const lengths = edges.slice(1).map((edge, index) => edge - edges[index]);
    return { box: this.#box, area: this.#area, mask: { size: this.size, counts: coded(lengths) } };
  }
}

/** COCO's text: the difference of each length from the one two before, five bits a letter. */
function coded(lengths) {
  let text = '';
  lengths.forEach((length, index) => {
    let value = index > 2 ? length - lengths[index - 2] : length;
    for (let more = true; more;) {
      const group = value & 31;
      value >>= 5;
      more = value !== -(group >> 4); // whether the rest is more than the sign of this group
      text += String.fromCharCode(group + (more ? 32 : 0) + 48);
    }
  });
  return text;
}
