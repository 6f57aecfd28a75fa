"""Journeys from a photo to what is seen of it."""

import numpy as np
import pytest
from served import until

from humanparse import HumanParser


@pytest.fixture(scope="module")
def parsing(astronaut):
    return HumanParser().parse(astronaut)


@pytest.fixture(scope="module")
def visitor_for_all(visit_for_all, astronaut):
    visitor = visit_for_all()
    visitor.parse(astronaut)
    return visitor


@pytest.fixture
def looking(visitor_for_all):
    """Somebody who looks at one person; how they look is set back for the next test."""
    page = visitor_for_all.page
    opacity = page.input_value("#opacity")
    yield visitor_for_all
    page.check("#modes input[value=overlay]", force=True)
    page.fill("#opacity", opacity)
    page.mouse.move(2, 2)


def middle_of(parsing, label: str) -> tuple[int, int]:
    """A pixel well inside a part: the one nearest to the middle of all whose neighbours are of the
    part too."""
    mask = parsing.people[0].parts[label].mask.to_dense()
    inner = mask.copy()
    for dy, dx in ((0, 4), (0, -4), (4, 0), (-4, 0)):
        inner &= np.roll(mask, (dy, dx), (0, 1))
    y, x = np.nonzero(inner)
    nearest = np.argmin((x - x.mean()) ** 2 + (y - y.mean()) ** 2)
    return int(x[nearest]), int(y[nearest])


DROP = """async ([bytes, name]) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/jpeg' }));
    for (const kind of ['dragenter', 'dragover', 'drop'])
        document.body.dispatchEvent(
            new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true }),
        );
}"""
PASTE = """async (bytes) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([new Uint8Array(bytes)], 'image.png', { type: 'image/jpeg' }));
    document.dispatchEvent(
        new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }),
    );
}"""


def test_a_dropped_photo_gives_a_legend_with_its_parts(visit, astronaut, parsing):
    visitor = visit()
    visitor.page.evaluate(DROP, [list(astronaut.read_bytes()), "astronaut.jpg"])
    visitor.page.wait_for_selector("#legend li")
    assert (
        visitor.page.inner_text("#summary h2") == f"1 person, {len(parsing.people[0].parts)} parts"
    )
    names = visitor.page.locator("#legend .name").all_inner_texts()
    assert {"Face", "Hair", "Upper clothes"} <= set(names) and len(names) == len(
        parsing.people[0].parts
    )
    assert visitor.page.inner_text("#used-model") == "humanparse-small"
    assert visitor.errors == []


def test_a_pasted_photo_is_parsed(visit, astronaut):
    visitor = visit()
    visitor.page.evaluate(PASTE, list(astronaut.read_bytes()))
    visitor.page.wait_for_selector("#legend li")
    assert "image.png" in visitor.page.inner_text("#summary")


def test_a_dropped_link_is_not_a_photo_and_the_visitor_is_told(visit):
    visitor = visit()
    visitor.page.evaluate("""() => {
        const dataTransfer = new DataTransfer();
        dataTransfer.setData('text/uri-list', 'https://example.org/street.jpg');
        document.body.dispatchEvent(
            new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }),
        );
    }""")
    assert "That was a link" in visitor.page.locator("#toast:not([hidden])").inner_text()


def test_on_a_slow_line_one_sees_how_much_was_sent(visit, astronaut):
    visitor = visit()
    tools = visitor.page.context.new_cdp_session(visitor.page)
    tools.send("Network.enable")
    # bytes a second
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 60_000}
    tools.send("Network.emulateNetworkConditions", slow)
    visitor.choose(astronaut)
    seen = set()
    until(
        lambda: (
            seen.add(visitor.page.inner_text("#progress-text"))
            or visitor.page.is_visible("#legend")
        )
    )
    shares = {int(one.split()[1].rstrip("%")) for one in seen if one.startswith("Sending, ")}
    assert any(0 < share < 100 for share in shares)


def test_a_queue_at_the_server_is_told_with_its_length(visit, astronaut):
    visitor = visit()
    visitor.page.route(
        "**/readyz", lambda route: route.fulfill(json={"queued": 3, "predicted_wait_s": 4.2})
    )
    visitor.page.route("**/parse?*", lambda route: None)  # the answer does not come
    visitor.choose(astronaut)
    visitor.page.evaluate("""async () => {  // a request that is held back here never counts as sent
        const { state } = await import('./static/js/state.js');
        const { progress } = await import('./static/js/queue.js');
        progress(state.current, 1);
    }""")
    visitor.page.wait_for_selector("#progress:has-text('In the queue, about 5 s')")


def test_the_sample_is_one_click_away(visit):
    visitor = visit()
    visitor.page.click("#sample")
    visitor.page.wait_for_selector("#legend li")
    assert "astronaut.jpg · 512 × 512" in visitor.page.inner_text("#summary")


def test_a_photo_can_be_taken_with_the_camera(visit):
    visitor = visit()
    visitor.page.click("#open-camera")
    until(lambda: visitor.page.evaluate("document.querySelector('#video').videoWidth > 0"))
    visitor.page.click("#capture")
    visitor.page.wait_for_selector("#summary h2:has-text('Nobody found')")
    assert "camera.jpg" in visitor.page.inner_text("#summary")
    # the camera's light is off again
    assert visitor.page.evaluate("document.querySelector('#video').srcObject") is None


def test_hovering_a_face_says_face(looking, parsing):
    looking.page.mouse.move(*looking.place(*middle_of(parsing, "Face")))
    told = looking.page.locator("#tooltip:not([hidden])").inner_text()
    assert "Face" in told and "Person 1" in told and "sure" in told and "of this person" in told
    looking.page.mouse.move(*looking.place(500, 10))  # the wall
    assert not looking.page.is_visible("#tooltip")


def test_tapping_a_part_says_its_name(visit, astronaut, parsing):
    visitor = visit(width=390, height=780, has_touch=True, is_mobile=True)
    visitor.parse(astronaut)
    visitor.page.touchscreen.tap(*visitor.place(*middle_of(parsing, "Hair")))
    assert "Hair" in visitor.page.locator("#tooltip:not([hidden])").inner_text()


def test_a_part_that_is_switched_off_shows_the_photo_again(looking, parsing):
    face, hair = middle_of(parsing, "Face"), middle_of(parsing, "Hair")
    before = looking.pixel(*face), looking.pixel(*hair)
    looking.page.click("#legend li:has-text('Face') label")
    looking.page.mouse.move(2, 2)
    photo = parsing.image[face[1], face[0]].astype(int)
    assert looking.pixel(*face) != before[0]
    assert np.abs(photo - looking.pixel(*face)).max() < 30  # the photo is scaled for the screen
    assert looking.pixel(*hair) == before[1]
    looking.page.click("#legend li:has-text('Face') label")
    looking.page.mouse.move(2, 2)
    assert looking.pixel(*face) == before[0]


def test_only_and_none_and_all_switch_many_parts(looking, parsing):
    checked = looking.page.locator("#legend input[type=checkbox]:checked")
    looking.page.hover("#legend li:has-text('Hair')")
    looking.page.click("#legend button[aria-label='Only Hair']")
    assert checked.count() == 1
    looking.page.click("#legend button:has-text('None')")
    assert checked.count() == 0
    looking.page.click("#legend button:has-text('All')")
    assert checked.count() == len(parsing.people[0].parts)


def test_each_view_shows_what_its_name_says(looking, parsing):
    coat = middle_of(parsing, "UpperClothes")
    photo = parsing.image[coat[1], coat[0]].astype(int)
    colour = parsing.labels.palette()[parsing.labels.index("UpperClothes")]
    seen = {}
    for view in ("overlay", "colours", "outlines", "original"):
        looking.page.check(f"#modes input[value={view}]", force=True)
        seen[view] = looking.pixel(*coat)
    assert seen["colours"] == colour
    assert np.abs(photo - seen["original"]).max() < 30 and seen["outlines"] == seen["original"]
    blended = 0.45 * photo + 0.55 * np.array(colour)
    assert np.abs(blended - seen["overlay"]).max() < 20


def test_opacity_goes_from_the_photo_to_the_colours(looking, parsing):
    coat = middle_of(parsing, "UpperClothes")
    looking.page.fill("#opacity", "100")
    assert looking.pixel(*coat) == parsing.labels.palette()[parsing.labels.index("UpperClothes")]
    looking.page.fill("#opacity", "0")
    assert np.abs(parsing.image[coat[1], coat[0]].astype(int) - looking.pixel(*coat)).max() < 30


def test_the_divider_parts_photo_and_result(visit, astronaut, parsing):
    visitor = visit()
    visitor.parse(astronaut)
    face = middle_of(parsing, "Face")
    result = visitor.pixel(*face)
    visitor.page.click("#compare")
    # a key to what is not shown yet goes elsewhere
    visitor.page.wait_for_selector("#divider")
    visitor.page.locator("#divider").press("Home")  # at the left: all result
    assert visitor.pixel(*face) == result
    visitor.page.locator("#divider").press("End")  # at the right: all photo
    assert visitor.pixel(*face) != result
    grip, target = visitor.page.locator(".grip").bounding_box(), visitor.place(100, 256)
    visitor.page.mouse.move(grip["x"] + 20, grip["y"] + 20)
    visitor.page.mouse.down()
    visitor.page.mouse.move(*target)
    visitor.page.mouse.up()
    visitor.page.mouse.move(2, 2)
    assert 18 <= int(visitor.page.get_attribute("#divider", "aria-valuenow")) <= 21  # 100 of 512
    assert visitor.pixel(*face) == result


def test_one_person_can_be_singled_out_and_people_have_colours(visit, couple):
    visitor = visit()
    visitor.parse(couple)
    assert visitor.page.locator("#people .chip").count() == 3
    everyone = visitor.page.locator("#legend li").count()
    visitor.page.click("#people .chip[data-person='2']")
    assert "×2" not in visitor.page.inner_text("#legend")
    assert visitor.page.locator("#legend li").count() <= everyone
    visitor.page.click("#people .chip[data-person='0']")
    parsing = HumanParser().parse(couple)
    y, x = np.argwhere(
        (parsing.person_map == 1) & (parsing.label_map == parsing.labels.index("UpperClothes"))
    )[2000]
    visitor.page.check("input[name=colour-by][value=person]", force=True)
    visitor.page.check("#modes input[value=colours]", force=True)
    assert visitor.pixel(x, y, (726, 512)) == (255, 178, 0)  # the first colour of people


def test_zoom_and_moving_by_wheel_buttons_and_keys(looking):
    percent = lambda: int(looking.page.inner_text("#zoom-value").rstrip("%"))  # noqa: E731
    whole = percent()
    looking.page.mouse.move(*looking.place(256, 200))
    looking.page.mouse.wheel(0, -400)
    looking.settle()
    assert percent() > 1.5 * whole
    corner = looking.pixel(0, 0)
    looking.page.mouse.down()
    looking.page.mouse.move(*looking.place(400, 400), steps=3)
    looking.page.mouse.up()
    assert looking.pixel(0, 0) != corner
    looking.page.focus("#stage")
    looking.page.keyboard.press("0")
    looking.settle()
    assert percent() == whole
    looking.page.keyboard.press("+")
    looking.page.keyboard.press("ArrowRight")
    looking.settle()
    assert percent() == pytest.approx(1.4 * whole, abs=2)
    looking.page.click("#zoom-fit")
    looking.settle()
    assert percent() == whole


def test_two_fingers_zoom_and_one_moves(visit, astronaut):
    visitor = visit(width=390, height=780, has_touch=True, is_mobile=True)
    visitor.parse(astronaut)
    tools = visitor.page.context.new_cdp_session(visitor.page)

    def touch(kind: str, *points):
        tools.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]},
        )

    percent = lambda: int(visitor.page.text_content("#zoom-value").rstrip("%"))  # noqa: E731
    (x, y), wall, whole = visitor.place(256, 256), visitor.pixel(500, 20), percent()
    touch("touchStart", (x - 20, y), (x + 20, y))
    for apart in (40, 60, 80):
        touch("touchMove", (x - apart, y), (x + apart, y))
    touch("touchEnd")
    visitor.settle()
    # the fingers are four times as far apart
    assert percent() == pytest.approx(4 * whole, rel=0.03)
    zoomed = visitor.pixel(500, 20)
    touch("touchStart", (x, y))
    for along in (30, 60, 90):
        touch("touchMove", (x - along, y - along))
    touch("touchEnd")
    assert len({wall, zoomed, visitor.pixel(500, 20)}) == 3


def test_nothing_is_fetched_again_for_any_view(visit, couple):
    visitor = visit()
    visitor.parse(couple)
    before = list(visitor.requests)
    for view in ("colours", "outlines", "original", "overlay"):
        visitor.page.check(f"#modes input[value={view}]", force=True)
    visitor.page.click("#people .chip[data-person='2']")
    visitor.page.click("#legend li >> nth=0 >> label")
    visitor.page.click("#compare")
    visitor.page.mouse.move(*visitor.place(200, 200, (726, 512)))
    for kind in ("overlay", "colormap", "cutout", "labels", "json", "coco"):
        visitor.download(f"[data-format={kind}]")
    asked = [one for one in visitor.requests[len(before) :] if "blob:" not in one]
    assert asked == []
    assert sum("POST /parse" in one for one in before) == 1
    assert visitor.errors == []


def test_a_second_model_can_be_chosen_and_parses_the_photo_again(visit, astronaut):
    def two_models(route):
        one = route.fetch().json()["models"][0]
        route.fulfill(json={"models": [one, {**one, "name": "another"}]})

    visitor = visit(prepare=lambda page: page.route("**/models", two_models))
    visitor.parse(astronaut)
    assert any("model=humanparse-small" in one for one in visitor.requests)
    visitor.page.select_option("#model", "another")
    assert "That model is no longer available" in visitor.problem()  # the server knows only one
    assert any("model=another" in one for one in visitor.requests)
    visitor.page.select_option("#model", "humanparse-small")
    visitor.page.wait_for_selector("#legend li")


def test_a_photo_without_people_says_so_and_what_to_do(visit):
    visitor = visit()
    visitor.choose({"name": "wall.png", "mimeType": "image/png", "buffer": grey_png()})
    visitor.page.wait_for_selector("#summary h2:has-text('Nobody found')")
    assert "Try a larger photo" in visitor.page.inner_text("#summary")
    assert not visitor.page.is_visible("#legend")


def test_a_photo_turned_by_its_camera_stands_upright(visit, astronaut, tmp_path):
    from PIL import Image

    turned = tmp_path / "turned.jpg"
    picture = Image.open(astronaut).convert("RGB").crop((0, 0, 400, 512))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90° to see it upright
    picture.rotate(90, expand=True).save(turned, exif=exif, quality=95)
    visitor = visit()
    visitor.parse(turned)
    assert "400 × 512" in visitor.page.inner_text("#summary")
    visitor.page.check("#modes input[value=original]", force=True)
    for x, y in ((50, 100), (350, 60), (200, 300)):
        assert (
            np.abs(np.array(picture.getpixel((x, y))) - visitor.pixel(x, y, (400, 512))).max() < 40
        )


def test_a_photo_that_the_browser_cannot_show_is_parsed_all_the_same(visit, astronaut, tmp_path):
    from PIL import Image

    tiff = tmp_path / "astronaut.tif"
    Image.open(astronaut).save(tiff)
    visitor = visit()
    visitor.parse(tiff)
    assert "cannot show" in visitor.page.inner_text("#note")
    # drawn by the server, which can read it
    name, picture = visitor.picture("[data-format=cutout]")
    assert name == "astronaut.cutout.png" and picture.mode == "RGBA"
    visitor.page.click("#edit-open")
    visitor.page.click("#edit-form .main")
    visitor.page.wait_for_selector("#edit-save:not([hidden])")
    assert not visitor.page.is_visible("#note")  # the edited photo is shown


def grey_png() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (96, 64), (128, 128, 128)).save(file, "PNG")
    return file.getvalue()
