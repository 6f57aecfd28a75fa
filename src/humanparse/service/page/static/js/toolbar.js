// Above the stage: the view, opacity, the divider and zoom.

import { find } from './dom.js';
import { change, state } from './state.js';
import { percent } from './strings.js';
import { fit, zoom } from './view.js';

export function start() {
  for (const input of document.querySelectorAll('#modes input'))
    input.addEventListener('change', () => change({ mode: input.value }));
  find('#opacity').addEventListener('input', (event) =>
    change({ opacity: event.target.value / 100 }),
  );
  find('#compare').addEventListener('click', () => {
    // Photo against photo would show nothing.
    change({
      comparing: !state.comparing,
      mode: state.mode === 'original' ? 'overlay' : state.mode,
    });
  });
  find('#zoom-in').addEventListener('click', () => zoom(1.4));
  find('#zoom-out').addEventListener('click', () => zoom(1 / 1.4));
  find('#zoom-fit').addEventListener('click', fit);
}

export function show() {
  const there = Boolean(state.current?.scene);
  find('#toolbar').inert = !there;
  find('#modes')
    .querySelectorAll('input')
    .forEach((input) => {
      input.checked = input.value === state.mode;
    });
  const opacity = find('#opacity');
  opacity.disabled = state.mode !== 'overlay';
  opacity.value = Math.round(state.opacity * 100);
  opacity.style.setProperty('--filled', state.opacity);
  opacity.setAttribute('aria-valuetext', percent(state.opacity));
  find('#compare').setAttribute('aria-pressed', state.comparing);
}
