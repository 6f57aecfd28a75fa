"""coco.py: data sets that pycocotools can read."""

import contextlib
import io
import json
from pathlib import PureWindowsPath

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing, parsing_from_maps
from pycocotools.coco import COCO

from humanparse import formats
from humanparse.errors import OptionError
from humanparse.labels import CIHP, PASCAL_PERSON_PART, LabelSet

# in pycocotools itself
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def loaded(data: dict) -> COCO:
    """Write the data set to a file and read it with pycocotools."""
    coco = COCO()
    coco.dataset = json.loads(json.dumps(data))
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def test_a_saved_file_is_read_by_pycocotools(tmp_path):
    [path] = formats.save(made_up_parsing(name="street"), tmp_path, "coco")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["street"]
    assert len(coco.getAnnIds(catIds=coco.getCatIds(catNms=["person"]))) == 2
    assert len(coco.getAnnIds(catIds=coco.getCatIds(supNms=["part"]))) == 12


def test_masks_boxes_and_areas_are_ours():
    parsing = made_up_parsing()
    coco = loaded(formats.to_coco(parsing))
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(annotation).astype(bool)
        category = coco.loadCats(annotation["category_id"])[0]["name"]
        mine = parsing.person_map == annotation["person_id"]
        wanted = (
            mine if category == "person" else mine & (parsing.label_map == CIHP.index(category))
        )
        assert (
            np.array_equal(mask, wanted)
            and annotation["area"] == wanted.sum()
            and annotation["iscrowd"] == 0
        )
        x, y, width, height = annotation["bbox"]
        assert mask[y : y + height, x : x + width].sum() == annotation["area"]


def test_a_part_names_its_person_s_annotation():
    annotations = {one["id"]: one for one in formats.to_coco(made_up_parsing())["annotations"]}
    people = [one for one in annotations.values() if one["category_id"] == len(CIHP)]
    assert [(one["person_id"], one["part_of"], one["score"]) for one in people] == [
        (1, 0, 0.9),
        (2, 0, 0.8),
    ]
    for one in annotations.values():
        if one["category_id"] != len(CIHP):
            assert annotations[one["part_of"]] in people
            assert annotations[one["part_of"]]["person_id"] == one["person_id"]


def test_nobody_s_parts_have_person_0():
    hat = np.zeros((4, 5), np.uint8)
    hat[1:3, 2] = CIHP.index("Hat")
    [annotation] = formats.to_coco(parsing_from_maps(hat, np.zeros((4, 5), np.uint16)))[
        "annotations"
    ]
    assert (annotation["person_id"], annotation["part_of"], annotation["bbox"]) == (
        0,
        0,
        [2, 1, 1, 2],
    )


def test_polygons_fill_to_nearly_the_same_masks():
    parsing = made_up_parsing()
    exact, drawn = loaded(formats.to_coco(parsing)), loaded(formats.to_coco(parsing, polygons=True))
    for annotation in drawn.loadAnns(drawn.getAnnIds()):
        a = exact.annToMask(exact.loadAnns(annotation["id"])[0]).astype(bool)
        b = drawn.annToMask(annotation).astype(bool)
        assert isinstance(annotation["segmentation"], list) and (a & b).sum() / (a | b).sum() > 0.98


def test_photos_are_merged_under_numbers_of_their_own():
    coco = loaded(
        formats.coco_dataset(
            iter([made_up_parsing("a"), empty_parsing(name="b"), made_up_parsing("c")])
        )
    )
    images = coco.loadImgs(coco.getImgIds())
    keys = ("id", "file_name", "width", "height")
    assert [tuple(image[key] for key in keys) for image in images] == [
        (1, "a", 160, 120),
        (2, "b", 160, 120),
        (3, "c", 160, 120),
    ]
    assert [len(coco.getAnnIds(imgIds=[image])) for image in (1, 2, 3)] == [14, 0, 14]
    assert sorted(coco.getAnnIds()) == list(range(1, 29))
    third = [coco.anns[number] for number in coco.getAnnIds(imgIds=[3])]
    assert {one["part_of"] for one in third} == {0, 15, 22}


def test_photos_of_one_name_are_refused_and_told_apart_by_their_paths():
    parsings = [made_up_parsing("IMG_1"), made_up_parsing("IMG_1")]
    with pytest.raises(OptionError, match=r"photos 1 and 2 are both called 'IMG_1'; .* file_names"):
        formats.coco_dataset(parsings)
    with pytest.raises(OptionError, match="both called 'x'"):
        formats.coco_dataset(parsings, file_names=["x", "x"])
    names = ["a/IMG_1.jpg", PureWindowsPath("b/IMG_1.jpg")]
    data = formats.coco_dataset(iter(parsings), file_names=names)
    assert [image["file_name"] for image in data["images"]] == ["a/IMG_1.jpg", "b/IMG_1.jpg"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], "ends before photo 2"),
        (["a", "b", "c"], "has 'c' after the last photo"),
    ],
)
def test_there_are_as_many_names_as_photos(names, message):
    with pytest.raises(OptionError, match=message):
        formats.coco_dataset([made_up_parsing(), made_up_parsing()], file_names=names)


def test_photos_of_different_label_sets_are_not_merged():
    with pytest.raises(OptionError, match="pascal-person-part"):
        other = parsing_from_maps(
            np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint16), labels=PASCAL_PERSON_PART
        )
        formats.coco_dataset([made_up_parsing(), other])


def test_no_photos_give_an_empty_data_set():
    data = formats.coco_dataset([])
    assert (data["images"], data["annotations"], data["categories"]) == ([], [], [])


def test_a_class_called_person_is_another_category_than_people():
    labels = LabelSet("mine", ("Background", "person"))
    parsing = parsing_from_maps(
        np.ones((4, 4), np.uint8), np.ones((4, 4), np.uint16), labels=labels
    )
    names = [one["name"] for one in formats.to_coco(parsing)["categories"]]
    assert names == ["person", "whole-person"]
