"""The exported site in a real browser, with a stand-in for the model; test_site_model.py has it."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from static_site import static_site

from humanparse.export import onnxruntime_web, web
from humanparse.weights.catalog import model_file
from page.conftest import visits

FAKE = Path(__file__).parent / "fake_humanparse.js"


def exported(folder: Path, version: str = "1.0") -> Path:
    """Write a site without the files of onnxruntime-web."""
    nothing = dict.fromkeys(onnxruntime_web.FILES, b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "runtime_files", lambda archive: nothing)
        patch.setattr(web, "__version__", version)
        web.write_web(model_file("humanparse-int8"), folder, Path("not-read.tgz"))
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site whose humanparse.js finds one person in the left half of every photo."""
    folder = exported(tmp_path_factory.mktemp("site") / "site")
    shutil.copyfile(FAKE, folder / "humanparse.js")
    with static_site(folder) as served:
        yield served


@pytest.fixture
def visit(contexts, site):
    """Opens the site: `visit(fake="{ load: () => ... }")` says what the stand-in does."""
    with contextmanager(visits)(contexts, site.url) as opened:

        def with_fake(fake="{}"):
            script = f"globalThis.fake = {fake};"
            return opened(
                service_workers="block", prepare=lambda page: page.add_init_script(script)
            )

        yield with_fake


HELD = "{ load: () => new Promise((done) => { globalThis.go = done; }) }"


def test_loading_the_model_is_shown_before_the_first_photo_and_with_it(visit, astronaut):
    visitor = visit(HELD)
    visitor.page.wait_for_selector("#loading:has-text('Loading the model, 30%')")
    visitor.choose(astronaut)
    visitor.page.wait_for_selector("#progress:has-text('Loading the model, 30%')")
    visitor.page.evaluate("go()")
    visitor.page.wait_for_selector("#legend li:has-text('Face')")
    assert not visitor.page.is_visible("#loading")


def test_photos_are_parsed_one_after_the_other_and_a_cancelled_one_not_at_all(visit, astronaut):
    visitor = visit("{ parse: () => new Promise((done) => { globalThis.go = done; }) }")
    visitor.choose(astronaut)
    visitor.page.wait_for_selector("#progress:has-text('Parsing')")
    visitor.choose(astronaut.with_name("hopper.jpg"))
    visitor.page.wait_for_selector("#progress:has-text('Parsing')")
    assert visitor.page.evaluate("parsed") == ["astronaut.jpg"]
    visitor.page.keyboard.press("Escape")
    assert "Cancelled" in visitor.problem()
    visitor.page.evaluate("go()")
    visitor.page.click("#strip li:nth-child(1) .tile")
    visitor.page.wait_for_selector("#legend li:has-text('Face')")
    assert visitor.page.evaluate("parsed") == ["astronaut.jpg"]


def test_a_photo_that_was_shrunk_is_called_that(visit, astronaut):
    visitor = visit("{ parse: async () => ({ width: 9000, height: 6000 }) }")
    visitor.parse(astronaut)
    assert "Shrunk from 9000 × 6000" in visitor.page.inner_text("#summary")


FAILURES = {  # what humanparse.js says: the page's words, and whether another try may help
    "download_failed": ("The model cannot be loaded", True),
    "broken_model": ("The model cannot be opened", True),
    "internal_error": ("Something went wrong in this browser", True),
    "unsupported_browser": ("This browser cannot run the model", False),
}


def test_why_the_model_cannot_be_loaded_is_said_in_the_sites_own_words(visit, astronaut):
    visitor = visit(
        "{ load: () => { throw Object.assign(new Error('why'), { code: fake.code }); } }"
    )
    for code, (title, again) in FAILURES.items():
        visitor.page.evaluate("(code) => { fake.code = code; }", code)
        visitor.choose(astronaut)
        visitor.page.wait_for_selector(f"#problem:has-text('{title}')")
        assert visitor.page.locator("#problem .again").count() == again
    visitor.page.evaluate("fake.load = undefined")
    visitor.parse(astronaut)  # after a failure the model is loaded anew


def test_what_needs_a_server_is_not_shown_and_the_photo_is_said_to_stay(visit, astronaut):
    visitor = visit()
    page = visitor.page
    assert not page.is_visible("#clip-hint") and "video" not in page.get_attribute(
        "#files", "accept"
    )
    assert not page.is_visible("[href=docs]") and "only to this server" not in page.inner_text(
        "body"
    )
    assert "never leave this device" in page.inner_text("#welcome")
    clip = {"name": "walk.mp4", "mimeType": "video/mp4", "buffer": b"no matter"}
    page.set_input_files("#files", [clip])
    assert "Clips cannot be parsed here" in page.inner_text("#toast")
    assert page.is_visible("#welcome")
    visitor.parse(astronaut)
    assert not page.is_visible("#edit")
    page.click("#code summary")
    assert "HumanParser.load()" in page.inner_text("#code") and "curl" not in page.inner_text(
        "#code"
    )
    assert "sent" not in page.inner_text("#footer") and "parsed" in page.inner_text("#footer")
    assert visitor.foreign() == visitor.errors == []


def test_every_text_of_the_site_is_there_in_both_languages(visit):
    missing = visit().page.evaluate(
        "async () => (await import('./static/js/strings.js')).untranslated([])"
    )
    assert missing == []


def test_an_overlay_is_downloaded_without_a_server(visit, astronaut):
    visitor = visit()
    visitor.parse(astronaut)
    name, picture = visitor.picture("[data-format=overlay]")
    assert name == "astronaut.overlay.png" and picture.size == (4, 2)


VERSION = "async () => (await (await fetch('model.json')).json()).version"
CONTROLLED = "() => navigator.serviceWorker.controller !== null"
UPDATED = """async () => {
    const registration = await navigator.serviceWorker.ready;
    await registration.update();
    while (!registration.waiting) await new Promise((done) => setTimeout(done, 20));
}"""


def test_a_new_version_is_used_once_the_page_has_been_closed(chromium, tmp_path):
    site = exported(tmp_path / "site")
    with static_site(site) as served, chromium.new_context() as context:
        page = context.new_page()
        page.goto(served.url)
        page.wait_for_function(CONTROLLED)
        shutil.rmtree(site)
        exported(site, "2.0")
        page.evaluate(UPDATED)
        page.reload()
        assert page.evaluate(VERSION) == "1.0"  # the page and its files stay together
        for _ in range(20):  # visits, until the browser has seen that the page was closed
            page.close()
            page = context.new_page()
            page.goto(served.url)
            if page.evaluate(VERSION) == "2.0":
                break
        else:
            pytest.fail("the old version is still used")


def test_a_file_that_was_changed_on_the_way_is_not_kept(chromium, tmp_path):
    site = exported(tmp_path / "site")
    (site / "static/page.css").write_text("/* another file */")
    with static_site(site) as served, chromium.new_context() as context:
        page = context.new_page()
        page.goto(served.url)
        page.wait_for_selector("html.ready")
        page.evaluate(
            "async () => { const { installing } = await navigator.serviceWorker.register("
            "'service-worker.js'); if (installing) await new Promise((done) => {"
            "installing.onstatechange = () => installing.state === 'redundant' && done(); }); }"
        )
        kept = "async () => (await (await caches.open((await caches.keys())[0])).keys()).length"
        assert not page.evaluate(CONTROLLED) and page.evaluate(kept) == 0
