"""The live view: what the camera sees, parsed, and people who keep their number."""

from __future__ import annotations


def test_the_live_view_draws_what_is_found_and_stops_with_the_camera(visit):
    visitor = visit()
    page = visitor.page
    page.click("#open-live")
    page.wait_for_selector("#live-said:has-text('frames a second')", timeout=60_000)
    assert page.is_visible("#live-view") and page.inner_text("#camera-title") == "Live view"
    page.click("#camera-close")
    asked = sum("/parse" in one for one in visitor.requests)
    page.wait_for_function("() => document.querySelector('#video').srcObject === null")
    assert page.is_hidden("#live-view")
    page.click("#open-camera")
    page.wait_for_function("() => document.querySelector('#video').videoWidth > 0")
    assert page.inner_text("#camera-title") == "Take a photo" and page.is_hidden("#live-view")
    assert sum("/parse" in one for one in visitor.requests) == asked
    assert not visitor.errors and not visitor.foreign()


def test_people_keep_their_number_from_frame_to_frame(visit):
    numbers = visit().page.evaluate("""async () => {
        const { newFollower } = await import('./static/js/live.js');
        const number = newFollower();
        const left = (x) => ({ box: [x, 0, x + 20, 60] });
        return [
          number([left(0), left(100)], 0),
          number([left(104), left(6)], 100), // in another order
          number([left(12)], 200), // one is missed
          number([left(18), left(110), left(60)], 900), // and comes back, with somebody new
          number([left(18)], 1000),
          number([left(110)], 3500), // too late
        ];
    }""")
    assert numbers == [[1, 2], [2, 1], [1], [1, 2, 3], [1], [4]]
