// Takes a photo with the camera: in a dialog where the browser gives access to the video, otherwise
// in the phone's own camera app.

import { find } from './dom.js';
import { problemText, t } from './strings.js';

const dialog = find('#camera');
const video = find('#video');
let facing = 'environment';
let live = null; // live.js, once it is needed

/** Call `add([file])` for each photo that is taken, and `fail()` if no camera is available. */
export function start(add, fail) {
  find('#open-camera').addEventListener('click', () => open(fail));
  find('#open-live').hidden = !navigator.mediaDevices;
  find('#open-live').addEventListener('click', () => openLive(fail));
  find('#capture').addEventListener('click', async () => {
    const file = await capture();
    dialog.close();
    if (file) add([file]);
  });
  find('#flip').addEventListener('click', () => {
    facing = facing === 'user' ? 'environment' : 'user';
    release();
    begin().catch(fail);
  });
  find('#camera-close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', stop);
}

async function open(fail) {
  const onPhone = matchMedia('(pointer: coarse)').matches;
  if (onPhone || !navigator.mediaDevices) {
    // browsers give pages a camera only over https
    find('#camera-file').click();
    return;
  }
  await openDialog('cameraTitle', fail);
}

async function openDialog(title, fail) {
  try {
    await begin();
  } catch {
    stop();
    fail();
    return false;
  }
  find('#camera-title').dataset.t = title;
  find('#camera-title').textContent = t(title);
  dialog.showModal();
  return true;
}

async function openLive(fail) {
  const opened = openDialog('live', fail);
  try {
    live ??= await import('./live.js');
  } catch {
    if (await opened) find('#live-said').textContent = problemText('network')[0];
    return;
  }
  if ((await opened) && dialog.open) live.run();
}

async function begin() {
  const size = { width: { ideal: 1920 }, height: { ideal: 1080 } };
  video.srcObject = await navigator.mediaDevices.getUserMedia({
    video: { facingMode: facing, ...size },
  });
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(
    (device) => device.kind === 'videoinput',
  );
  find('#flip').hidden = cameras.length < 2;
}

function stop() {
  live?.stop();
  release();
}

function release() {
  for (const track of video.srcObject?.getTracks() || []) track.stop();
  video.srcObject = null;
}

async function capture() {
  if (!video.videoWidth) return null;
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext('2d').drawImage(video, 0, 0);
  const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.95 });
  return new File([blob], 'camera.jpg', { type: 'image/jpeg' });
}
