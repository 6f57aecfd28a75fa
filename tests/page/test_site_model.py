"""The exported site as its visitors have it: the model runs in a real browser."""

import io
from contextlib import ExitStack, contextmanager

import pytest
from PIL import Image
from static_site import static_site

from humanparse import HumanParser
from humanparse.export.web import HEADERS
from page.conftest import visits

WAIT_MS = 100_000  # the model takes longer where other tests use the cores


@pytest.fixture(scope="module")
def open_site(contexts, site_folder):
    """Opens the site as a new visitor: `open_site(headers)` gives a Visit and its StaticSite."""
    with ExitStack() as stack:

        def opened(headers=None, **options):
            served = stack.enter_context(static_site(site_folder, headers))
            visitor = stack.enter_context(contextmanager(visits)(contexts, served.url))(**options)
            visitor.page.set_default_timeout(WAIT_MS)
            return visitor, served

        yield opened


def photo(name: str, data: bytes, kind: str = "image/png") -> dict:
    return {"name": name, "mimeType": kind, "buffer": data}


def grey(width: int, height: int) -> bytes:
    opened = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 90)).save(opened, "PNG")
    return opened.getvalue()


@pytest.fixture(scope="module")
def visitor(open_site):
    """Somebody whose browser has the model, from a host that sends the headers."""
    return open_site(HEADERS)[0]


def legend(page) -> set[str]:
    """Press the sample, and return the labels of the parts that are found."""
    page.click("#sample")
    page.wait_for_selector("#legend li:has-text('Face')")
    titles = page.locator("#legend label").evaluate_all("(all) => all.map((one) => one.title)")
    return {title.split(" · ")[0] for title in titles}


def test_the_sample_shows_what_the_model_finds_in_python(visitor, astronaut):
    assert visitor.page.evaluate("crossOriginIsolated")
    found = HumanParser("humanparse-int8").parse(astronaut)
    assert legend(visitor.page) == {part for person in found.people for part in person.parts}


def test_a_host_without_the_headers_will_do_and_after_a_visit_none_is_needed(open_site):
    visitor, served = open_site()
    page = visitor.page
    assert not page.evaluate("crossOriginIsolated")
    found = legend(page)
    large = [path for path in served.asked if path.endswith(".gz")]
    assert sorted(large) == ["/model.onnx.gz", "/ort/ort-wasm-simd-threaded.wasm.gz"]  # once each
    served.stop()
    page.reload()
    page.wait_for_selector("html.ready")
    assert page.evaluate("crossOriginIsolated")  # by the service worker
    assert legend(page) == found
    assert visitor.foreign() == visitor.errors == []


def test_a_photo_without_people_is_an_ordinary_result(visitor):
    visitor.choose(photo("grey.png", grey(64, 48)))
    visitor.page.wait_for_selector("#summary h2:has-text('Nobody found')")


def test_a_file_that_is_no_picture_or_damaged_is_called_that(visitor, astronaut):
    visitor.choose(photo("notes.txt", b"not a picture", "text/plain"))
    visitor.page.wait_for_selector("#problem:has-text('This is not a picture')")
    visitor.choose(photo("cut.jpg", astronaut.read_bytes()[:400], "image/jpeg"))
    visitor.page.wait_for_selector("#problem:has-text('The picture cannot be read')")


def test_a_huge_photo_is_shrunk_and_the_page_says_so(visitor):
    visitor.choose(photo("huge.png", grey(6000, 4000)))
    visitor.page.wait_for_selector("#summary:has-text('Shrunk from 6000 × 4000')")
    assert "Nobody found" in visitor.page.inner_text("#summary")


def test_the_policy_forbids_scripts_made_from_text(visitor):
    made = visitor.page.evaluate("""() => new Promise((done) => setTimeout(() => {
        try { done(new Function('return 1')()); } catch (error) { done(error.name); }
    }))""")
    assert made == "EvalError"


def test_a_browser_without_webassembly_is_told_what_it_needs(open_site, astronaut):
    visitor, _ = open_site(
        prepare=lambda page: page.add_init_script("delete globalThis.WebAssembly")
    )
    visitor.choose(astronaut)
    assert "This browser cannot run the model" in visitor.problem()
    assert "Firefox" in visitor.problem()
