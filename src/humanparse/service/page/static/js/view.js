// The stage: the photo on a canvas that can be zoomed, moved and pointed at, and the divider.

import { draw } from './draw.js';
import { find } from './dom.js';
import { change, isShown, state } from './state.js';
import { percent } from './strings.js';

const LARGEST = 32; // screen pixels per photo pixel
const LARGEST_FIT = 3; // small photos are not enlarged more than this at first
const TAP = 6; // screen pixels: a pointer that moves less counts as a tap
const UNIT = 1.15; // screen pixels that widths of lines and text are multiples of
const REVEAL_MS = 500;

const stage = find('#stage');
const canvas = find('#canvas');
const divider = find('#divider');
const ctx = canvas.getContext('2d');

const at = { scale: 1, x: 0, y: 0, fitted: true }; // photo pixels → screen pixels
const pointers = new Map();
let moved = 0;
let asked = 0;
let revealed = 0; // when the sweep over a new result began
let shownPhoto = ''; // of the photo that was fitted into the stage
let onPoint = () => {};

/** Set up the stage.
 *
 * callback: called with what the pointer is on, or null, and the position in the window.
 */
export function start(callback) {
  onPoint = callback;
  new ResizeObserver(() => {
    if (at.fitted) fit();
    else show();
  }).observe(stage);
  stage.addEventListener('pointerdown', press);
  stage.addEventListener('pointermove', move);
  for (const kind of ['pointerup', 'pointercancel']) stage.addEventListener(kind, release);
  stage.addEventListener(
    'pointerleave',
    (event) => event.pointerType === 'touch' || pointers.size || onPoint(null),
  );
  stage.addEventListener('wheel', wheel, { passive: false });
  stage.addEventListener('dblclick', (event) => (at.fitted ? zoomAt(2.5, ...local(event)) : fit()));
  stage.addEventListener('keydown', key);
  divider.addEventListener('pointerdown', grab);
  divider.addEventListener('keydown', nudge);
}

/** Draw the current picture before the next frame. */
export function show() {
  const size = photoSize();
  const photo = size ? `${state.current.id} ${size}` : '';
  if (photo !== shownPhoto) fit();
  shownPhoto = photo;
  asked ||= requestAnimationFrame(frame);
}

/** Start the sweep over a result that has just arrived. */
export function reveal() {
  if (!matchMedia('(prefers-reduced-motion: reduce)').matches) revealed = performance.now();
}

/** Show the whole photo as large as possible. */
export function fit() {
  Object.assign(at, { scale: fitScale(), fitted: true });
  settle();
}

/** Zoom around the middle of the stage. */
export const zoom = (factor) => zoomAt(factor, stage.clientWidth / 2, stage.clientHeight / 2);

function photoSize() {
  const picture = state.current;
  if (picture?.scene) return [picture.scene.result.width, picture.scene.result.height];
  return picture?.photo ? [picture.photo.width, picture.photo.height] : null;
}

function frame(now) {
  asked = 0;
  const picture = state.current;
  const size = photoSize();
  const ratio = Math.min(2, devicePixelRatio || 1);
  const [wide, high] = [
    Math.round(stage.clientWidth * ratio),
    Math.round(stage.clientHeight * ratio),
  ];
  if (canvas.width !== wide || canvas.height !== high)
    Object.assign(canvas, { width: wide, height: high });
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.clearRect(0, 0, wide, high);
  placeDivider();
  find('#zoom-value').textContent = size ? percent(at.scale) : '';
  if (!size) return;
  ctx.setTransform(ratio * at.scale, 0, 0, ratio * at.scale, ratio * at.x, ratio * at.y);
  ctx.imageSmoothingQuality = 'medium'; // 'high' takes several times as long, too slow for moving
  ctx.imageSmoothingEnabled = at.scale < 5; // single pixels are visible at large scales
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, 0, ...size);
  ctx.clip();
  if (picture.scene) drawResult(picture, size, now);
  else ctx.drawImage(picture.photo, 0, 0, ...size);
  ctx.restore();
}

function drawResult(picture, [wide, high], now) {
  const look = { ...state, picture };
  const plain = { ...look, mode: 'original', pointed: null };
  const unit = UNIT / at.scale;
  let from = 0;
  let to = wide;
  if (state.comparing) {
    from = (dividerX() - at.x) / at.scale;
  } else if (revealed) {
    const done = (now - revealed) / REVEAL_MS;
    if (done < 1) {
      to = wide * (1 - (1 - Math.max(0, done)) ** 3);
      asked = requestAnimationFrame(frame);
    } else {
      revealed = 0;
    }
  }
  if (from > 0 || to < wide) draw(ctx, picture.scene, plain, unit);
  ctx.beginPath();
  ctx.rect(from, 0, to - from, high);
  ctx.clip();
  draw(ctx, picture.scene, look, unit);
}

// Moving and zooming

function zoomAt(factor, x, y) {
  if (!photoSize()) return;
  const least = fitScale();
  const scale = Math.min(Math.max(LARGEST, least), Math.max(least, at.scale * factor));
  const grown = scale / at.scale;
  Object.assign(at, {
    scale,
    x: x - (x - at.x) * grown,
    y: y - (y - at.y) * grown,
    fitted: scale === least,
  });
  settle();
}

function fitScale() {
  const size = photoSize();
  if (!size) return 1;
  const margin = stage.clientWidth > 600 ? 24 : 0;
  const scale = Math.min(
    (stage.clientWidth - 2 * margin) / size[0],
    (stage.clientHeight - 2 * margin) / size[1],
  );
  return Math.min(LARGEST_FIT, Math.max(scale, 1e-3));
}

function pan(dx, dy) {
  at.x += dx;
  at.y += dy;
  settle();
}

/** Keep the photo in view: centred if it is smaller than the stage, otherwise without gaps. */
function settle() {
  const size = photoSize();
  if (!size) return;
  const within = (value, length, room) =>
    length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, value));
  at.x = within(at.x, size[0] * at.scale, stage.clientWidth);
  at.y = within(at.y, size[1] * at.scale, stage.clientHeight);
  asked ||= requestAnimationFrame(frame);
}

// Pointers

const local = (event) => {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

function press(event) {
  if (event.target.closest('button, input, #divider, .card') || event.button > 0) return;
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, local(event));
  if (pointers.size === 1) moved = 0;
}

function move(event) {
  const now = local(event);
  const before = pointers.get(event.pointerId);
  if (!before) {
    if (event.pointerType !== 'touch') point(event);
    return;
  }
  const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, where]) => where);
  pointers.set(event.pointerId, now);
  moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
  if (others.length) {
    const [x, y] = others[0];
    zoomAt(
      Math.hypot(now[0] - x, now[1] - y) / Math.max(1, Math.hypot(before[0] - x, before[1] - y)),
      x,
      y,
    );
  } else if (moved > TAP) {
    stage.classList.add('moving');
    onPoint(null);
    pan(now[0] - before[0], now[1] - before[1]);
  }
}

function release(event) {
  if (!pointers.delete(event.pointerId)) return;
  stage.classList.remove('moving');
  if (event.type === 'pointerup' && moved <= TAP) point(event);
}

/** Report what lies under a pointer. */
function point(event) {
  const scene = state.current?.scene;
  if (!scene || event.target.closest('.card, #divider')) return onPoint(null);
  const [x, y] = local(event);
  const { maps } = scene;
  const column = Math.floor(((x - at.x) / at.scale) * maps.scale);
  const row = Math.floor(((y - at.y) / at.scale) * maps.scale);
  if (column < 0 || row < 0 || column >= maps.width || row >= maps.height) return onPoint(null);
  const part = maps.labels[row * maps.width + column];
  const person = maps.people[row * maps.width + column];
  return onPoint(
    part && isShown(state.current, person, part) ? { person, part } : null,
    event.clientX,
    event.clientY,
  );
}

function wheel(event) {
  if (!photoSize() || event.target.closest('.card')) return;
  event.preventDefault();
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
  zoomAt(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), ...local(event));
}

function key(event) {
  if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
  const far = 60;
  const actions = {
    '+': () => zoom(1.4),
    '=': () => zoom(1.4),
    '-': () => zoom(1 / 1.4),
    0: fit,
    ArrowLeft: () => pan(far, 0),
    ArrowRight: () => pan(-far, 0),
    ArrowUp: () => pan(0, far),
    ArrowDown: () => pan(0, -far),
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

// The divider

/** Return the left and right ends of the visible photo, in screen pixels. */
function inSight() {
  const [wide] = photoSize() || [0];
  return [Math.max(0, at.x), Math.min(stage.clientWidth, at.x + wide * at.scale)];
}

function dividerX() {
  const [left, right] = inSight();
  return left + state.split * (right - left);
}

function placeDivider() {
  const size = photoSize();
  divider.hidden = !(state.comparing && state.current?.scene);
  if (divider.hidden || !size) return;
  const top = Math.max(0, at.y);
  divider.style.left = `${dividerX()}px`;
  divider.style.top = `${top}px`;
  divider.style.height = `${Math.min(stage.clientHeight, at.y + size[1] * at.scale) - top}px`;
  divider.setAttribute('aria-valuenow', Math.round(state.split * 100));
}

function grab(event) {
  divider.setPointerCapture(event.pointerId);
  divider.onpointermove = (moving) => {
    const [left, right] = inSight();
    split((local(moving)[0] - left) / Math.max(1, right - left));
  };
  divider.onpointerup = divider.onpointercancel = () => {
    divider.onpointermove = null;
  };
  event.stopPropagation();
}

function nudge(event) {
  const step = event.shiftKey ? 0.1 : 0.02;
  const to = {
    ArrowLeft: state.split - step,
    ArrowDown: state.split - step,
    ArrowRight: state.split + step,
    ArrowUp: state.split + step,
    PageDown: state.split - 0.1,
    PageUp: state.split + 0.1,
    Home: 0,
    End: 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  split(to);
}

const split = (to) => change({ split: Math.min(1, Math.max(0, to)) });
