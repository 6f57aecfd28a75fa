// A photo from the camera: in a dialogue where the browser gives us the picture, else through the phone's own app.

import { find } from './dom.js';

const dialog = find('#camera');
const video = find('#video');
let facing = 'environment';

/** Call `add([file])` for each photo taken, and `fail()` where there is no camera to be had. */
export function start(add, fail) {
  find('#open-camera').addEventListener('click', () => open(fail));
  find('#capture').addEventListener('click', async () => {
    const file = await capture();
    dialog.close();
    if (file) add([file]);
  });
  find('#flip').addEventListener('click', () => {
    facing = facing === 'user' ? 'environment' : 'user';
    stop();
    begin().catch(fail);
  });
  find('#camera-close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', stop);
}

async function open(fail) {
  const onPhone = matchMedia('(pointer: coarse)').matches;
  if (onPhone || !navigator.mediaDevices) {
    // without https a browser gives no camera to a page
    find('#camera-file').click();
    return;
  }
  try {
    await begin();
    dialog.showModal();
  } catch {
    stop();
    fail();
  }
}

async function begin() {
  const size = { width: { ideal: 1920 }, height: { ideal: 1080 } };
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, ...size } });
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === 'videoinput');
  find('#flip').hidden = cameras.length < 2;
}

function stop() {
  for (const track of video.srcObject?.getTracks() || []) track.stop();
  video.srcObject = null;
}

async function capture() {
  if (!video.videoWidth) return null;
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext('2d').drawImage(video, 0, 0);
  return new File([await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.95 })], 'camera.jpg', {
    type: 'image/jpeg',
  });
}
