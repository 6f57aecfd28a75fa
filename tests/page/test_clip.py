"""A clip on the page: dropped, followed while it is parsed, and played beside its overlay."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from coloured_clips import write_clip
from PIL import Image
from served import web

PLAYS = "id => { const v = document.getElementById(id); return v.currentTime > 0.3 && !v.error; }"

# the share of the edited clip's last frame that is green
GREEN = """async () => {
  const video = document.getElementById('clip-overlay');
  video.currentTime = video.duration - 0.1;
  await new Promise((done) => video.addEventListener('seeked', done, { once: true }));
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const ctx = canvas.getContext('2d');
  ctx.drawImage(video, 0, 0);
  const { data } = ctx.getImageData(0, 0, canvas.width, canvas.height);
  let green = 0;
  for (let i = 0; i < data.length; i += 4)
    green += data[i + 1] > 180 && data[i] < 100 && data[i + 2] < 100;
  return green / (data.length / 4);
}"""


@pytest.fixture(scope="module")
def clip(couple, tmp_path_factory) -> Path:
    """Two people, seen by a camera that moves to the right; the second comes into view later."""
    photo = np.asarray(Image.open(couple).convert("RGB").resize((454, 320)))
    frames = [np.ascontiguousarray(photo[:, left : left + 256]) for left in range(0, 199, 18)]
    return write_clip(tmp_path_factory.mktemp("clip") / "walk.webm", frames, rate=5)


def drop(visitor, name: str, data: bytes) -> None:
    """Drop a file on the page, as from a folder."""
    transfer = visitor.page.evaluate_handle(
        """([name, data]) => {
          const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name, { type: 'video/webm' }));
          return transfer;
        }""",
        [name, base64.b64encode(data).decode()],
    )
    visitor.page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def test_a_clip_is_dropped_and_plays_beside_its_overlay(visit, server, clip):
    visitor = visit()
    page = visitor.page
    drop(visitor, "walk.webm", clip.read_bytes())
    page.wait_for_selector("#clip-found:has-text('people')", timeout=60_000)
    assert page.locator("#clip-people li").count() >= 2
    second = page.locator("#clip-people li[data-track='2'] .seen i").first
    assert second.evaluate("one => one.offsetLeft") > 0  # came later

    page.wait_for_function("() => document.getElementById('clip-overlay').readyState >= 2")
    page.click("#clip-play")
    for video in ("clip-overlay", "clip-original"):
        page.wait_for_function(PLAYS, arg=video)
    page.wait_for_function("() => document.getElementById('clip-overlay').paused")
    slider = page.locator("#clip-time")  # filled as far as the clip was played
    assert slider.evaluate("one => Number(one.style.getPropertyValue('--filled'))") > 0.95
    page.click("#clip-people li[data-track='1'] .chip")  # back to where the first person came
    page.wait_for_function("() => document.getElementById('clip-original').currentTime < 0.1")

    page.check("#clip-views input[value=overlay]")
    assert not page.is_visible("#clip-original") and page.is_visible("#clip-overlay")
    name, data = visitor.download("#clip-files a:has-text('Overlay')")
    assert name == "walk.overlay.webm" and data.startswith(b"\x1aE\xdf\xa3")
    page.click("#language")
    assert "个人" in page.inner_text("#clip-found")
    page.click("#clip-close")
    assert page.is_visible("#welcome") and not visitor.errors and not visitor.foreign()
    assert web.get(f"{server.url}/v1/jobs").json() == {"jobs": []}  # nothing stays there


# Keeps the texts of the forms that are sent: Chromium does not tell the body of one with a file.
LISTEN = """() => {
  const send = XMLHttpRequest.prototype.send;
  window.asked = [];
  XMLHttpRequest.prototype.send = function (body) {
    if (body instanceof FormData)
      asked.push(Object.fromEntries([...body].filter(([, value]) => typeof value === "string")));
    return send.call(this, body);
  };
}"""


def test_a_clip_is_edited_and_what_is_refused_leaves_it_as_it_was(visit, clip):
    visitor = visit()
    page = visitor.page
    drop(visitor, "walk.webm", clip.read_bytes())
    page.wait_for_selector("#clip-found:has-text('people')", timeout=60_000)
    page.evaluate(LISTEN)
    page.select_option("#clip-edit [data-field=what]", "fill")
    page.select_option("#clip-edit [data-field=region]", "upper")
    page.select_option("#clip-edit [data-field=who]", "2")
    page.fill("#clip-edit [type=color]", "#00ff00")
    page.click("#clip-edit button")
    page.wait_for_selector("#clip-files a:has-text('Edited')", timeout=60_000)
    assert "upper:2=#00ff00" in page.evaluate("asked")[0].values()
    assert page.inner_text(".of-overlay figcaption") == "Edited"
    assert "before you share" in page.inner_text("#clip-edit [data-field=said]")
    assert page.evaluate(GREEN) > 0.005

    problem = {"code": "bad_option", "detail": "it does not fit", "status": 422}
    page.route("**/v1/jobs", lambda route: route.fulfill(status=422, json=problem))
    page.click("#clip-edit button")
    page.wait_for_selector("#clip-edit .wrong")
    assert "it does not fit" in page.inner_text("#clip-edit [data-field=said]")
    assert page.is_visible("#clip-files a:has-text('Edited')") and not visitor.foreign()


def test_what_is_no_clip_is_called_that(visit):
    visitor = visit()
    drop(visitor, "song.mp4", b"not a clip" * 40)
    visitor.page.wait_for_selector("#clip-wrong:has-text('This is not a clip')", timeout=60_000)
    visitor.page.click("#clip-close")
    assert visitor.page.is_visible("#welcome") and not visitor.errors
