// The ways in which photos arrive: chosen, dropped anywhere, pasted, or the sample.

import { find } from './dom.js';

const SAMPLE = 'static/sample.jpg';

/** Call `add(files)` when photos arrive, and `refuse()` when something other than files is dropped.
 */
export function start(add, refuse) {
  for (const input of [find('#files'), find('#camera-file')]) {
    input.addEventListener('change', () => {
      if (input.files.length) add([...input.files]);
      input.value = ''; // so that the same photo can be chosen again
    });
  }
  for (const button of [find('#choose'), find('#add')]) button.addEventListener('click', choose);
  find('#sample').addEventListener('click', async () => add([await sample()]));
  document.addEventListener('paste', (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) {
      event.preventDefault();
      add(files);
    }
  });
  startDrop(add, refuse);
}

export const choose = () => find('#files').click();

async function sample() {
  const answer = await fetch(SAMPLE);
  return new File([await answer.blob()], 'astronaut.jpg', { type: 'image/jpeg' });
}

function startDrop(add, refuse) {
  const curtain = find('#drop');
  let inside = 0; // a pointer enters a child before it leaves its parent
  document.addEventListener('dragenter', (event) => {
    event.preventDefault();
    inside += 1;
    curtain.hidden = !event.dataTransfer?.types.includes('Files');
  });
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('dragleave', () => {
    inside = Math.max(0, inside - 1);
    curtain.hidden ||= inside === 0;
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    inside = 0;
    curtain.hidden = true;
    const files = [...event.dataTransfer.files];
    if (files.length) add(files);
    else refuse();
  });
}
