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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site whose humanparse.js finds one person in the left half of every photo."""
    folder = tmp_path_factory.mktemp("site") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            web, "runtime_files", lambda archive: dict.fromkeys(onnxruntime_web.FILES, b"")
        )
        web.write_web(model_file("humanparse-int8"), folder, Path("not-read.tgz"))
    shutil.copyfile(FAKE, folder / "humanparse.js")
    with static_site(folder) as served:
        yield served


@pytest.fixture
def visit(chromium, site):
    """Opens the site: `visit(fake="{ load: () => ... }")` says what the stand-in does."""
    with contextmanager(visits)(chromium, site) as opened:

        def with_fake(fake="{}"):
            script = f"globalThis.fake = {fake};"
            return opened(
                service_workers="block", prepare=lambda page: page.add_init_script(script)
            )

        yield with_fake


HELD = "{ load: () => new Promise((done) => { globalThis.go = done; }) }"


def test_loading_the_model_is_shown_before_the_first_photo_and_with_it(visit, astronaut):
    visitor = visit(HELD)
    assert "Loading the model, 30%" in visitor.page.inner_text("#loading")
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


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("download_failed", "The model cannot be loaded"),
        ("unsupported_browser", "This browser cannot run the model"),
        ("broken_model", "The model cannot be opened"),
        ("internal_error", "Something went wrong in this browser"),
    ],
)
def test_why_the_model_cannot_be_loaded_is_said_in_the_sites_own_words(
    visit, astronaut, code, title
):
    fails = (
        f"{{ load: async () => {{ throw Object.assign(new Error('why'), {{ code: '{code}' }}) }} }}"
    )
    visitor = visit(fails)
    visitor.choose(astronaut)
    assert title in visitor.problem()
    visitor.page.evaluate("globalThis.fake = {}")
    if again := visitor.page.query_selector("#problem .again"):
        again.click()
        visitor.page.wait_for_selector("#legend li")
    assert bool(again) == (code != "unsupported_browser")


def test_what_needs_a_server_is_not_shown_and_the_photo_is_said_to_stay(visit, astronaut):
    visitor = visit()
    page = visitor.page
    assert not page.is_visible("[href=docs]") and "only to this server" not in page.inner_text(
        "body"
    )
    assert "never leave this device" in page.inner_text("#welcome")
    visitor.parse(astronaut)
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
