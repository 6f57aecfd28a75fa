// What the browser remembers between visits. The page also works where it may remember nothing.

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
    // It is remembered only until the page is closed.
  }
}
