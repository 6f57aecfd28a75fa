// The state of the page: the pictures, which one is shown, and how. Modules that draw listen to it.

export const state = {
  pictures: [], // see newPicture
  current: null, // the picture that is shown
  clip: null, // the clip that is shown instead of pictures, see jobs.js
  models: [], // from /models
  model: '', // the name of the chosen one
  loading: null, // the share of the model that this browser has loaded, if it is to run it
  mode: 'overlay', // overlay, colours, outlines, original or edited
  opacity: 0.55, // of the colours in the overlay
  colourBy: 'part', // part or person
  comparing: false, // the photo on one side of a divider, the result on the other
  split: 0.5, // position of the divider, 0 left to 1 right
  pointed: null, // {person, part} under the pointer or of a row of the legend; person 0 means any
};

const listeners = new Set();
let told = false;

/** Change the state and notify all listeners once before the next frame. */
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

/** Return a picture that is waiting to be parsed.
 *
 * others: pictures whose names it must not have; two cameras may both have an IMG_0001.
 */
export function newPicture(file, others) {
  const [start, ending] = parted(file.name || 'photo.png');
  const name = free(start, ending, (one) => others.some((other) => other.name === one));
  // On some disks the results of a.jpg and A.png would be the same files.
  const meets = (one) => others.some((other) => other.stem.toLowerCase() === one.toLowerCase());
  const plain = parted(name)[0].replace(/[\\/\0]/g, '_') || 'photo';
  return {
    id: ++lastId,
    file,
    name,
    stem: free(plain, '', meets), // how its files are named
    url: URL.createObjectURL(file), // for its thumbnail
    status: 'waiting', // waiting, sending, parsing, done, failed or cancelled
    progress: 0, // of sending, 0 to 1
    ahead: null, // {queued, seconds}: the server's queue until the result comes
    abort: () => {},
    problem: null, // why it failed, see api.js
    tries: 0, // automatic retries so far
    retryAt: 0, // when it is sent again automatically, as Date.now() counts
    timer: 0,
    original: null, // {width, height} of the photo, if a smaller copy was parsed
    result: null, // described in docs/json.md
    model: null, // that made the result, from /models
    times: null, // milliseconds: upload, queue, parse, show
    reading: null, // the promise of its photo
    photo: undefined, // pixels for the screen; null if this browser cannot read them
    scene: null, // what is drawn, see draw.js; only of the current picture
    edited: null, // the photo as the server edited it, see edit.js
    off: new Set(), // classes that are not shown
    solo: 0, // the person who is selected, 0 for everyone
  };
}

/** Split a file's name into stem and suffix with its dot. */
function parted(name) {
  const ending = name.match(/\.[^.]*$/)?.[0] || '';
  return [name.slice(0, name.length - ending.length), ending];
}

/** Return a name that is not taken: the second a.jpg becomes a-2.jpg. */
function free(start, ending, isTaken) {
  let name = start + ending;
  for (let number = 2; isTaken(name); number++) name = `${start}-${number}${ending}`;
  return name;
}

/** Whether a part of a person is shown; person 0 is nobody. */
export const isShown = (picture, person, part) =>
  !picture.off.has(part) && (!picture.solo || picture.solo === person);
