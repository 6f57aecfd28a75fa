// What the page knows: the pictures, which one is looked at, and how. Whoever draws something listens.

export const state = {
  pictures: [], // see newPicture
  current: null, // the picture that is looked at
  models: [], // as /models describes them
  model: '', // the name of the one that is asked
  mode: 'overlay', // overlay, colours, outlines or original
  opacity: 0.55, // of the colours in the overlay
  colourBy: 'part', // part or person
  comparing: false, // the photo on one side of a divider, the result on the other
  split: 0.5, // where the divider stands, 0 left to 1 right
  pointed: null, // {person, part}: what the pointer or a row of the legend points at; person 0 means any
};

const listeners = new Set();
let told = false;

/** Change the state and tell everyone, once, before the next frame. */
export function change(patch = {}) {
  Object.assign(state, patch);
  if (told) return;
  told = true;
  queueMicrotask(() => {
    told = false;
    for (const listener of listeners) listener(state);
  });
}

export function listen(listener) {
  listeners.add(listener);
}

let lastId = 0;

/** A picture that waits to be parsed.
 *
 * others: those whose names it must not have; two cameras may both have an IMG_0001.
 */
export function newPicture(file, others) {
  const [start, ending] = parted(file.name || 'photo.png');
  const name = free(start, ending, (one) => others.some((other) => other.name === one));
  // a.jpg and A.png would write the same files on some disks.
  const meets = (one) => others.some((other) => other.stem.toLowerCase() === one.toLowerCase());
  const plain = parted(name)[0].replace(/[\\/\0]/g, '_') || 'photo';
  return {
    id: ++lastId,
    file,
    name,
    stem: free(plain, '', meets), // what its files are called
    url: URL.createObjectURL(file), // for its thumbnail
    status: 'waiting', // waiting, sending, parsing, done, failed or cancelled
    progress: 0, // of sending, 0 to 1
    ahead: null, // {queued, seconds}: the server's queue while an answer is awaited
    abort: () => {},
    problem: null, // why it failed, see api.js
    tries: 0, // by itself, without the visitor
    retryAt: 0, // when it is tried again by itself, as Date.now() counts
    timer: 0,
    result: null, // as docs/json.md describes it
    model: null, // that made it, as /models describes it
    times: null, // milliseconds: upload, queue, parse, show
    reading: null, // the promise of its photo
    photo: undefined, // pixels for the screen; null where this browser cannot read them
    scene: null, // what is drawn, see draw.js; of the current picture alone
    off: new Set(), // classes that are not shown
    solo: 0, // the one person who is shown, 0 for everyone
  };
}

/** A file's name in two, the ending with its dot. */
function parted(name) {
  const ending = name.match(/\.[^.]*$/)?.[0] || '';
  return [name.slice(0, name.length - ending.length), ending];
}

/** A name that is not taken: the second a.jpg becomes a-2.jpg. */
function free(start, ending, isTaken) {
  let name = start + ending;
  for (let number = 2; isTaken(name); number++) name = `${start}-${number}${ending}`;
  return name;
}

/** Whether a part of a person is switched on; person 0 is nobody. */
export const isShown = (picture, person, part) => !picture.off.has(part) && (!picture.solo || picture.solo === person);
