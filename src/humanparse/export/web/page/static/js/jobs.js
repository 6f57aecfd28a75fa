// Clips need a server; takes the place of the page's own jobs.js.

export const takesClips = false;
