// What the browser remembers between visits; where it is told to remember nothing, the page works all the same.

const kept = (name) => `humanparse-${name}`;

export function recall(name, storage = 'localStorage') {
  try {
    return window[storage].getItem(kept(name)) || '';
  } catch {
    return '';
  }
}

export function remember(name, value, storage = 'localStorage') {
  try {
    window[storage].setItem(kept(name), value);
  } catch {
    // Then only until the page is left.
  }
}
