"""Edits of a photo on the page, which the server makes by /v1/edit."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from served import web

from humanparse import HumanParser

SIZE = (726, 512)  # of the two people


@pytest.fixture
def editing(visit, couple):
    """Somebody who looks at two people and has the form for edits open."""
    visitor = visit()
    visitor.parse(couple)
    visitor.page.click("#edit-open")
    return visitor


def apply(visitor, words: str = "Done") -> str:
    """Press Apply, by keyboard, and return what is said, once it holds these words."""
    visitor.page.focus("#edit-form .main")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector(f"#edit-said:has-text('{words}')")
    visitor.settle()
    return visitor.page.inner_text("#edit-said")


def test_the_chosen_persons_face_is_blurred_on_the_stage_and_in_the_download(
    editing, server, couple
):
    parsing = HumanParser().parse(couple)
    editing.page.click("#people .chip[data-person='2']")
    assert "person 2 alone" in editing.page.inner_text("#edit-whom")
    editing.page.focus("#edit-strength")
    editing.page.keyboard.press("ArrowRight")
    said = apply(editing)
    assert "before you share it" in said and "not found on" not in said
    assert editing.page.is_checked("#modes [value=edited]")
    name, picture = editing.picture("#edit-save")
    answer = web.post(
        f"{server.url}/v1/edit",
        files={"image": couple.read_bytes()},
        data={"blur": "face", "strength": "2", "people": "2"},
        timeout=60,
    )
    theirs = Image.open(io.BytesIO(answer.content))
    assert name == "couple.edited.jpg" and np.array_equal(np.asarray(picture), np.asarray(theirs))
    change = np.abs(np.asarray(picture).astype(int) - parsing.image).mean(axis=2)
    first, second = (one.parts["Face"].mask.to_dense() for one in parsing.people)
    assert change[second].mean() > 5 > 2 > change[first].mean()
    changed = np.argwhere(second & (change > 30))
    y, x = changed[len(changed) // 2]
    edited = np.asarray(picture)[y, x].astype(int)
    assert np.abs(editing.pixel(x, y, SIZE) - edited).max() < 20
    editing.page.check("#modes [value=original]", force=True)
    assert np.abs(editing.pixel(x, y, SIZE) - edited).max() > 20


def test_only_the_settings_of_an_edit_are_offered_and_what_is_cut_off_is_transparent(editing):
    def offered() -> list[str]:
        return [
            row.get_attribute("data-takes")
            for row in editing.page.locator("#edit-form [data-takes]").all()
            if row.is_visible()
        ]

    for what, settings in {
        "pixelate": ["region", "strength"],
        "recolour": ["region", "colour"],
        "background-blur": ["strength"],
        "background-colour": ["colour"],
        "cutout": ["region"],
    }.items():
        editing.page.select_option("#edit-what", what)
        editing.settle()
        assert offered() == settings
    editing.page.select_option("#edit-region", "person")
    editing.page.click("#compare")  # with the photo at the left
    apply(editing)
    name, picture = editing.picture("#edit-save")
    assert name == "couple.edited.png" and picture.mode == "RGBA" and picture.size == SIZE
    (y, x) = np.argwhere(np.asarray(picture)[:, 500:, 3] == 0)[0] + [0, 500]
    assert editing.pixel(x, y, SIZE) == (0, 0, 0)  # nothing is drawn there
    editing.page.click("#edit-open")
    assert not editing.page.is_visible("#edit-form")


def test_what_was_not_found_and_why_an_edit_fails_is_said_in_the_language_of_the_page(
    visit, astronaut
):
    visitor = visit()
    visitor.parse(astronaut)
    visitor.page.click("#edit-open")
    visitor.page.select_option("#edit-region", "lower")
    assert "Lower clothes: not found on person 1." in apply(visitor)
    visitor.page.click("#language")
    visitor.page.wait_for_selector("#edit-said:has-text('下装：在人物 1 身上没有找到。')")
    visitor.page.click("#language")
    problem = {"code": "bad_option", "detail": "there is no region 'lower'"}
    visitor.page.route(
        "**/v1/edit", lambda route: route.fulfill(status=422, body=json.dumps(problem))
    )
    assert problem["detail"] in apply(visitor, "This edit is not possible")
    visitor.choose(astronaut.with_name("hopper.jpg"))  # another photo has no edit yet
    visitor.page.wait_for_selector("#summary:has-text('hopper.jpg')")
    visitor.page.wait_for_selector("#edit-open")
    assert visitor.page.is_checked("#modes [value=overlay]")
    assert not visitor.page.is_visible("#edit-save") and not visitor.page.inner_text("#edit-said")
    visitor.page.click("#strip li:nth-child(1) .tile")
    visitor.page.wait_for_selector("#edit-save")  # the first still has its edit
    assert visitor.errors == []
