// Keeps the site's files in the browser, so that it works offline, and hands them out with the
// headers that let the model run on several threads, which not every web server can send.
//
// site.js is written by the export and sets SITE: version; headers; files, with the checksum of
// each; large, those of them which are kept only when the page asks for them. With another version
// the browser installs this worker anew, and uses it once all tabs of the site are closed. What the
// checksum does not fit is not kept: a page never meets files of another version.

importScripts('site.js');

const { version, headers, files, large } = self.SITE;
const OURS = `humanparse ${self.registration.scope} `; // other sites of this host have other scopes
const CACHE = OURS + version;
const SUMS = new Map(Object.entries(files).map(([path, sum]) => [addressOf(path), sum]));

self.addEventListener('install', (event) => event.waitUntil(install()));
self.addEventListener('activate', (event) => event.waitUntil(activate()));
self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  url.search = url.hash = ''; // links to the page may have one
  if (event.request.method === 'GET' && SUMS.has(url.href))
    event.respondWith(answer(event, url.href));
});

async function install() {
  const cache = await caches.open(CACHE);
  const small = Object.entries(files).filter(([path]) => !large.includes(path));
  await cache.addAll(
    // what the browser's own cache has is asked about, lest it be of another version
    small.map(([path, integrity]) => new Request(path, { cache: 'no-cache', integrity })),
  );
}

async function activate() {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(OURS) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await self.clients.claim();
}

/** Answer with the file that is kept, or with the server's, which is kept then. */
async function answer(event, address) {
  const cache = await caches.open(CACHE);
  const found = await cache.match(address);
  if (found) return withHeaders(found);
  const fresh = await fetch(address, { cache: 'no-cache' });
  if (fresh.ok) event.waitUntil(keep(cache, address, fresh.clone()));
  return withHeaders(fresh);
}

async function keep(cache, address, response) {
  try {
    const bytes = await response.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    if (`sha256-${btoa(String.fromCharCode(...digest))}` === SUMS.get(address))
      await cache.put(address, new Response(bytes, { headers: response.headers }));
  } catch {
    // The connection broke off, or the disk is full.
  }
}

function withHeaders(response) {
  const all = new Headers(response.headers);
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers: all });
}

function addressOf(path) {
  return new URL(path, self.registration.scope).href;
}
