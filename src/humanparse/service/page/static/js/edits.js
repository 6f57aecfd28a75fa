// What photos and clips can be edited by, and how the server is asked for it.

/** What each edit takes beside the photo, and the option of the server that asks for it. */
export const EDITS = {
  blur: { takes: ['region', 'strength'], option: ({ region }) => ['blur', region] },
  pixelate: { takes: ['region', 'strength'], option: ({ region }) => ['pixelate', region] },
  fill: {
    takes: ['region', 'colour'],
    option: ({ region, colour }) => ['fill', `${region}=${colour}`],
  },
  recolour: {
    takes: ['region', 'colour'],
    option: ({ region, colour }) => ['recolour', `${region}=${colour}`],
  },
  cutout: { takes: ['region'], option: ({ region }) => ['cutout', region] },
  'background-blur': { takes: ['strength'], option: () => ['background', 'blur'] },
  'background-colour': { takes: ['colour'], option: ({ colour }) => ['background', colour] },
};
export const HIDING = ['blur', 'pixelate', 'fill'];

/** Show those rows of a form that an edit takes, and how far its slider is filled. */
export function showRows(form, what, strength) {
  for (const row of form.querySelectorAll('[data-takes]'))
    row.hidden = !EDITS[what]?.takes.includes(row.dataset.takes);
  const { min, max, value } = strength;
  strength.style.setProperty('--filled', (value - min) / (max - min));
  strength.setAttribute('aria-valuetext', `× ${2 ** value}`);
}
