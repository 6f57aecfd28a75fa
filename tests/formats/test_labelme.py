"""labelme.py: files that labelme can open."""

import json

import numpy as np
from made_up import empty_parsing, made_up_parsing, parsing_from_maps
from PIL import Image, ImageDraw

from humanparse import HumanParser, formats
from humanparse.cli.demo import PHOTOS
from humanparse.labels import CIHP
from humanparse.system.packaged import packaged


def test_each_part_is_a_polygon_of_its_person_s_group(tmp_path):
    [path] = formats.save(made_up_parsing(), tmp_path, "labelme")
    data = json.loads(path.read_text())
    assert (data["imageWidth"], data["imageHeight"], data["imageData"], data["flags"]) == (
        160,
        120,
        None,
        {},
    )
    assert data["version"].startswith("5.") and {
        shape["shape_type"] for shape in data["shapes"]
    } == {"polygon"}
    assert [shape["group_id"] for shape in data["shapes"]] == [1] * 6 + [2] * 6
    assert {shape["label"] for shape in data["shapes"]} == set(made_up_parsing().people[0].parts)


def test_shapes_drawn_again_are_the_label_map():
    parsing = made_up_parsing()
    picture = Image.new("L", (4 * 160, 4 * 120))
    for shape in formats.to_labelme(parsing)["shapes"]:
        points = [(4 * x, 4 * y) for x, y in shape["points"]]
        ImageDraw.Draw(picture).polygon(points, fill=CIHP.index(shape["label"]))
    assert (np.asarray(picture)[2::4, 2::4] == parsing.label_map).mean() > 0.99


def test_components_are_shapes_of_one_label_and_unassigned_parts_have_no_group():
    shoes = np.zeros((40, 40), np.uint8)
    shoes[5:15, 5:15] = shoes[25:35, 25:35] = CIHP.index("Left-shoe")
    shapes = formats.to_labelme(parsing_from_maps(shoes, np.zeros((40, 40), np.uint16)))["shapes"]
    assert [(shape["label"], shape["group_id"]) for shape in shapes] == [("Left-shoe", None)] * 2


def test_a_photo_without_people_has_no_shapes():
    assert formats.to_labelme(empty_parsing())["shapes"] == []


def test_the_photo_s_file_is_named_with_its_ending():
    assert (
        formats.to_labelme(HumanParser().parse(packaged("cli/demo") / PHOTOS[0]))["imagePath"]
        == "astronaut.jpg"
    )
    assert formats.to_labelme(empty_parsing(name="street"))["imagePath"] == "street"
    assert (
        formats.to_labelme(empty_parsing(), "../photos/street.png")["imagePath"]
        == "../photos/street.png"
    )
