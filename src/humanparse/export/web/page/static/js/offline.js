// The service worker, which keeps the files of the site, so that it works offline after a visit.

const MOST_MS = 3000; // to wait for it; a browser that takes longer keeps the model next time

/** Wait until the service worker keeps what the page loads; at once where there can be none. */
export async function kept() {
  const workers = navigator.serviceWorker;
  if (!workers || workers.controller) return; // there are none over plain http
  try {
    const { active, installing } = await workers.register('service-worker.js', {
      updateViaCache: 'none', // so that a new version is seen at the next visit
    });
    if (active) return; // a page that was reloaded past the cache gets no service worker
    await new Promise((done) => {
      workers.addEventListener('controllerchange', done, { once: true });
      installing?.addEventListener('statechange', () => {
        if (installing.state === 'redundant') done(); // some file could not be kept
      });
      setTimeout(done, MOST_MS);
    });
  } catch {
    // Nothing may be kept here, as in some private windows; the page works online.
  }
}
