// A result in COCO's object detection format, the same as the package writes:
// https://cocodataset.org/#format-data

/** Return one annotation for every person and every part, linked by id.
 *
 * fileName: the name of the photo's file.
 */
export function coco(result, fileName) {
  const { labels, width, height } = result;
  const person = labels.length; // category ids are class ids, and "person" comes after the last
  const parts = labels.map((name, id) => ({ id, name, supercategory: 'part' })).slice(1);
  return {
    info: { description: `people and their parts, found by humanparse with ${result.model}` },
    licenses: [],
    images: [{ id: 1, file_name: fileName, width, height }],
    categories: [...parts, { id: person, name: 'person', supercategory: 'person' }],
    annotations: annotations(result, person),
  };
}

/** Return each person followed by their parts, and at the end the parts of no person. */
function annotations({ people, loose_parts: loose }, personCategory) {
  const found = [];
  const add = ({ mask, box: [x0, y0, x1, y1], area, score }, category, person, partOf) => {
    if (!area) return 0;
    found.push({
      id: found.length + 1,
      image_id: 1,
      category_id: category,
      segmentation: mask,
      bbox: [x0, y0, x1 - x0, y1 - y0],
      area,
      iscrowd: 0,
      score,
      person_id: person,
      part_of: partOf,
    });
    return found.length;
  };
  for (const person of people) {
    const id = add(person, personCategory, person.id, 0);
    for (const part of person.parts) add(part, part.class_id, person.id, id);
  }
  for (const part of loose) add(part, part.class_id, 0, 0);
  return found;
}
