"""Journeys that go wrong: what the visitor is told, and how they get on."""

import io
import os
import signal

from PIL import Image
from served import serve


def file(name: str, content: bytes, kind: str = "image/jpeg") -> dict:
    return {"name": name, "mimeType": kind, "buffer": content}


def png(width: int, height: int) -> bytes:
    opened = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 90)).save(opened, "PNG")
    return opened.getvalue()


def test_what_is_no_picture_is_called_that(visit, astronaut):
    visitor = visit()
    visitor.choose(file("notes.txt", b"not a picture", "text/plain"))
    assert "This is not a picture" in visitor.problem() and "JPEG" in visitor.problem()
    visitor.parse(astronaut)  # which takes its place
    assert not visitor.page.is_visible("#problem") and not visitor.page.is_visible("#strip")


def test_a_damaged_picture_is_called_that_with_the_servers_own_words(visit, astronaut):
    visitor = visit()
    visitor.choose(file("cut.jpg", astronaut.read_bytes()[:20_000]))
    assert "damaged" in visitor.problem()
    visitor.page.click("#problem summary")
    assert visitor.page.inner_text("#problem .detail")


def test_a_file_that_is_too_large_is_not_even_sent_and_can_be_made_smaller(visit, astronaut):
    photo = io.BytesIO()
    Image.open(astronaut).convert("RGB").resize((1900, 1900)).save(photo, "PNG")
    assert len(photo.getvalue()) > 2_000_000  # the limit of this server
    visitor = visit()
    visitor.choose(file("large.png", photo.getvalue(), "image/png"))
    assert "The file is too large" in visitor.problem()
    assert not any("POST /parse" in one for one in visitor.requests)
    visitor.page.click("#problem button:has-text('Shrink')")
    visitor.page.wait_for_selector("#legend li:has-text('Face')")


def test_too_many_pixels_are_refused_by_the_server_and_can_be_made_fewer(visit):
    visitor = visit()
    visitor.choose(file("wide.png", png(2100, 2000), "image/png"))
    assert "too many pixels" in visitor.problem()
    visitor.page.click("#problem button:has-text('Shrink')")
    visitor.page.wait_for_selector("#summary h2:has-text('Nobody found')")


def test_a_busy_server_is_asked_again_after_a_countdown_and_one_that_starts_at_once(
    visit, astronaut
):
    visitor = visit()
    visitor.answer_with(429, "queue_full", **{"retry-after": "1"})
    visitor.choose(astronaut)
    assert "The server is busy" in visitor.problem()
    visitor.page.wait_for_selector("#problem button:has-text('Try again (1)')")
    visitor.answer_as_usual()
    visitor.page.wait_for_selector("#legend li")
    visitor.answer_with(503, "not_ready", **{"retry-after": "60"})
    visitor.choose(astronaut)
    assert "The server is starting" in visitor.problem()
    visitor.answer_as_usual()
    visitor.page.click("#problem button:has-text('Try again')")
    visitor.page.wait_for_selector("#problem", state="hidden")
    visitor.page.wait_for_selector("#legend li")


PROBLEMS = [
    (400, "bad_request", "could not read the request"),
    (408, "request_timeout", "Sending took too long"),
    (413, "image_too_large", "too many pixels"),
    (415, "unsupported_media_type", "not a picture"),
    (422, "refused_image", "not be tried again"),
    (422, "unknown_model", "model"),
    (500, "internal_error", "went wrong"),
    (503, "worker_crashed", "parser crashed"),
    (503, "shutting_down", "restarting"),
    (504, "deadline_exceeded", "too long"),
    (507, "storage_full", "no space left"),
]


def test_every_problem_of_the_server_has_words_of_its_own(visit, astronaut):
    from humanparse.service.problems import KINDS

    visitor = visit()
    of_other_requests = {
        "not_found",
        "method_not_allowed",
        "not_acceptable",
        "conflict",
        "gone",
        "storage_full",
    }
    known = visitor.page.evaluate(
        "async () => (await import('./static/js/strings.js')).problemCodes()"
    )
    assert set(KINDS) - of_other_requests <= set(known)
    for status, code, title in PROBLEMS:
        visitor.answer_with(status, code)
        visitor.choose(astronaut)
        assert title in visitor.page.locator(f"#problem:has-text({title!r})").inner_text()
        visitor.answer_as_usual()


def test_an_answer_that_is_no_json_is_a_problem_too(visit, astronaut):
    visitor = visit()
    visitor.page.route(
        "**/parse?*", lambda route: route.fulfill(status=200, body="<html>a proxy</html>")
    )
    visitor.choose(astronaut)
    assert "cannot be read" in visitor.problem()
    visitor.answer_as_usual()
    visitor.page.route(
        "**/parse?*", lambda route: route.fulfill(status=502, body="<html>a proxy</html>")
    )
    visitor.page.click("#problem button:has-text('Try again')")
    visitor.page.wait_for_selector("#problem:has-text('went wrong')")


def test_a_photo_can_be_cancelled_by_button_and_by_escape_and_tried_again(visit, astronaut):
    visitor = visit()
    for cancel in (
        lambda: visitor.page.click("#cancel"),
        lambda: visitor.page.keyboard.press("Escape"),
    ):
        visitor.page.route("**/parse?*", lambda route: None)
        visitor.choose(astronaut)
        visitor.page.wait_for_selector("#progress:not([hidden])")
        cancel()
        assert "Cancelled" in visitor.problem()
        visitor.answer_as_usual()
        visitor.page.click("#problem button:has-text('Try again')")
        visitor.page.wait_for_selector("#problem", state="hidden")
        visitor.page.wait_for_selector("#legend li")


def test_a_server_that_ends_in_the_middle_of_a_photo_is_told_and_what_was_found_stays(
    visit, astronaut, tmp_path
):
    with serve(tmp_path, "--workers", "1", "--cache-mb", "0") as served:
        visitor = visit(url=served.url)
        visitor.parse(astronaut)
        for worker in served.children():
            os.kill(worker, signal.SIGSTOP)
        visitor.choose(astronaut)
        visitor.page.wait_for_selector("#progress:has-text('Parsing')")
        workers = served.children()
        served.stop(signal.SIGKILL)
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        assert "cannot be reached" in visitor.problem()
        visitor.page.click("#problem button:has-text('Try again')")  # it is still gone
        visitor.page.wait_for_selector("#problem:has-text('cannot be reached')")
        visitor.page.click("#strip li:nth-child(1) .tile")
        visitor.page.wait_for_selector("#legend li")


def test_a_token_is_asked_for_kept_and_sent(visit, astronaut, tmp_path):
    with serve(tmp_path, "--workers", "1", "--token", "open sesame") as served:
        visitor = visit(url=served.url)
        visitor.page.wait_for_selector("#token[open]")
        visitor.page.fill("#token-text", "wrong")
        visitor.page.keyboard.press("Enter")
        visitor.page.wait_for_selector("#token-wrong:not([hidden])")
        visitor.page.fill("#token-text", "open sesame")
        visitor.page.keyboard.press("Enter")
        visitor.page.wait_for_selector("#token:not([open])", state="attached")
        visitor.parse(astronaut)
        visitor.page.reload()
        visitor.page.wait_for_selector("html.ready")
        visitor.parse(astronaut)
        visitor.page.click("#code summary")
        assert (
            "$HUMANPARSE_TOKEN" in visitor.page.inner_text("#code")
            and "sesame" not in visitor.page.content()
        )
