"""The files that visitors download; each is opened by a program that should read it."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from served import web

import humanparse
from humanparse import HumanParser
from humanparse.formats import from_json


@pytest.fixture(scope="module")
def parsing(couple):
    return HumanParser().parse(couple)


@pytest.fixture(scope="module")
def visitor(visit_for_all, couple):
    """Somebody who looks at two people; what they download changes nothing."""
    visitor = visit_for_all()
    visitor.parse(couple)
    return visitor


def of_server(server, couple, form: str) -> bytes:
    answer = web.post(
        f"{server.url}/parse",
        params={"format": form},
        files={"image": couple.read_bytes()},
        timeout=60,
    )
    assert answer.status_code == 200
    return answer.content


def test_the_overlay_is_the_photo_in_colours_at_full_size(visitor, parsing):
    name, picture = visitor.picture("[data-format=overlay]")
    assert name == "couple.overlay.png" and picture.size == (726, 512)
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    nobody = (parsing.person_map == 0) & (parsing.label_map == 0)
    # a few outlines and numbers reach into it
    assert np.abs(pixels - parsing.image)[nobody].mean() < 8
    assert np.abs(pixels - parsing.image)[parsing.label_map > 0].mean() > 20


def test_the_colour_map_is_that_of_the_server(visitor, server, couple):
    name, picture = visitor.picture("[data-format=colormap]")
    assert name == "couple.colormap.png" and picture.mode == "RGB"
    assert np.array_equal(
        np.asarray(picture),
        np.asarray(Image.open(io.BytesIO(of_server(server, couple, "colormap")))),
    )


def test_the_label_map_holds_the_same_values_as_the_servers(visitor, server, couple, parsing):
    name, picture = visitor.picture("[data-format=labels]")
    theirs = Image.open(io.BytesIO(of_server(server, couple, "labels")))
    assert name == "couple.labels.png" and picture.mode == "P"
    assert (
        np.array_equal(np.asarray(picture), np.asarray(theirs))
        and picture.getpalette() == theirs.getpalette()
    )
    assert np.array_equal(np.asarray(picture), parsing.label_map)


def test_the_json_is_read_by_the_package(visitor, parsing):
    name, data = visitor.download("[data-format=json]")
    read = from_json(data)
    assert name == "couple.json" and read.name == "couple" and read.model == "humanparse-small"
    assert np.array_equal(read.label_map, parsing.label_map) and np.array_equal(
        read.person_map, parsing.person_map
    )


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools and NumPy 2
def test_the_coco_file_is_the_servers_and_opens_in_pycocotools(
    visitor, server, couple, parsing, tmp_path
):
    name, data = visitor.download("[data-format=coco]")
    mine, theirs = json.loads(data), json.loads(of_server(server, couple, "coco"))
    assert name == "couple.coco.json" and mine["images"][0].pop("file_name") == "couple.jpg"
    theirs["images"][0].pop("file_name")
    assert mine == theirs
    file = tmp_path / name
    file.write_bytes(data)
    opened = COCO(file)
    person = opened.loadAnns(opened.getAnnIds(catIds=opened.getCatIds(catNms=["person"])))[0]
    assert np.array_equal(opened.annToMask(person).astype(bool), parsing.people[0].mask.to_dense())


def test_the_cut_out_holds_what_is_shown_and_nothing_else(visit, couple, parsing):
    visitor = visit()
    visitor.parse(couple)
    visitor.page.click("#people .chip[data-person='1']")
    visitor.page.hover("#legend li:has-text('Face')")
    visitor.page.click("#legend button[aria-label='Only Face']")
    name, picture = visitor.picture("[data-format=cutout]")
    face = parsing.people[0].parts["Face"]
    x0, y0, x1, y1 = face.box_xyxy
    assert (
        name == "couple.cutout.png"
        and picture.mode == "RGBA"
        and picture.size == (x1 - x0, y1 - y0)
    )
    pixels, inside = np.asarray(picture), face.mask.crop
    assert np.array_equal(pixels[..., 3] == 255, inside) and not pixels[~inside].any()
    # two JPEG decoders
    assert (
        np.abs(pixels[inside][:, :3].astype(int) - parsing.image[y0:y1, x0:x1][inside]).max() <= 8
    )


def test_two_photos_stand_in_a_strip_and_come_as_one_zip(visit, couple, astronaut, parsing):
    visitor = visit()
    visitor.choose(couple, astronaut)
    visitor.page.wait_for_selector("#strip li.done:nth-child(2)")
    visitor.page.wait_for_selector("#strip li.done:nth-child(1)")
    assert visitor.page.locator("#strip .badge").all_inner_texts() == ["2", "1"]
    name, data = visitor.download("#strip .zip")
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert name == "humanparse.zip" and opened.testzip() is None
        kinds = ("overlay.png", "labels.png", "json")
        assert opened.namelist() == [
            f"{stem}.{kind}" for stem in ("couple", "astronaut") for kind in kinds
        ]
        labels = Image.open(io.BytesIO(opened.read("couple.labels.png")))
        assert np.array_equal(np.asarray(labels), parsing.label_map)
        assert from_json(opened.read("astronaut.json")).size_hw == (512, 512)
    visitor.page.click("#strip li:nth-child(2) .tile")
    visitor.page.wait_for_selector("#summary:has-text('astronaut.jpg')")
    visitor.page.hover("#strip li:nth-child(2)")
    visitor.page.click("#strip li:nth-child(2) .remove")
    visitor.page.wait_for_selector("#summary:has-text('couple.jpg')")
    assert not visitor.page.is_visible("#strip")


def test_photos_of_the_same_name_do_not_overwrite_each_other(visit, astronaut):
    visitor = visit()
    visitor.choose(astronaut)
    visitor.choose(astronaut)
    visitor.page.wait_for_selector("#strip li.done:nth-child(2)")
    visitor.page.wait_for_selector("#strip li.done:nth-child(1)")
    _, data = visitor.download("#strip .zip")
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert len(set(opened.namelist())) == 6 and "astronaut-2.json" in opened.namelist()


SCRIPTS = Path(humanparse.__file__).parent / "service/page/static/js"
NAMES = """
import { newPicture } from './state.js';
const pictures = [];
for (const name of JSON.parse(process.argv[1])) {
  pictures.push(newPicture(new File(['x'], name), pictures));
}
console.log(JSON.stringify(pictures.map((one) => [one.name, one.stem, one.file.name])));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_every_photo_has_a_name_and_a_stem_of_its_own_and_its_file_keeps_its_name():
    given = ["a.jpg", "a.jpg", "a-2.jpg", "a.png", "A.jpg", "image.png", "image.png", ""]
    command = ["node", "--input-type=module", "-e", NAMES, json.dumps(given)]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, check=True)
    names, stems, files = zip(*json.loads(done.stdout), strict=True)
    assert names == (
        "a.jpg",
        "a-2.jpg",
        "a-2-2.jpg",
        "a.png",
        "A.jpg",
        "image.png",
        "image-2.png",
        "photo.png",
    )
    assert stems == ("a", "a-2", "a-2-2", "a-3", "A-4", "image", "image-2", "photo")
    assert list(files) == given


def test_the_lines_of_code_give_the_same_result(visitor, couple, tmp_path, parsing):
    visitor.page.locator("#code details").evaluate("(details) => { details.open = true; }")
    curl, python = visitor.page.locator("#code code").all_inner_texts()
    folder = couple.parent
    answer = json.loads(
        subprocess.run(f"{curl} -s", shell=True, cwd=folder, capture_output=True, check=True).stdout
    )
    assert [one["area"] for one in answer["people"]] == [one.area for one in parsing.people]
    done = subprocess.run(
        [sys.executable, "-c", python], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == f"1 {list(parsing.people[0].parts)}"


def test_a_line_of_code_can_be_copied(visitor):
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.page.locator("#code details").evaluate("(details) => { details.open = true; }")
    visitor.page.click("#code button >> nth=0")
    visitor.page.wait_for_selector("#toast:has-text('Copied')")
    assert (
        visitor.page.evaluate("navigator.clipboard.readText()")
        == visitor.page.locator("#code code").first.inner_text()
    )
