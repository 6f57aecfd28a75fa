// The service worker, which keeps the files of the site, so that it works offline after a visit.

const MOST_MS = 3000; // to wait for it; a browser that takes longer keeps the model next time

/** Wait until the service worker keeps what the page loads; at once where there can be none. */
export async function kept() {
  const workers = navigator.serviceWorker;
  if (!workers || workers.controller) return; // there are none over plain http
  try {
    const registration = await workers.register('service-worker.js');
    // A page that was reloaded past the cache gets no service worker.
    if (registration.active) return;
    await new Promise((done) => {
      workers.addEventListener('controllerchange', done, { once: true });
      setTimeout(done, MOST_MS);
    });
  } catch {
    // Nothing may be kept here, as in some private windows; the page works online.
  }
}
