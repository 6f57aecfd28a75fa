"""YOLO, COCO panoptic, Label Studio, CVAT, folders of PNGs, SVG, tables, supervision and FiftyOne;
with their own readers if there."""

from __future__ import annotations

import io
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import PurePath
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing, parsing_from_maps
from PIL import Image

from humanparse.errors import MissingExtra, OptionError
from humanparse.formats import cvat, folders, label_studio, panoptic, svg, tables, yolo
from humanparse.labels import CIHP, LIP, LabelSet
from humanparse.masks import Mask

FACE, COAT = CIHP.index("Face"), CIHP.index("Coat")


def with_a_hole_and_two_pieces():
    """A coat with a hole, in two pieces, on one person."""
    labels, people = np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.uint16)
    people[10:50, 10:70] = 1
    labels[10:50, 10:40], labels[20:30, 20:30], labels[12:30, 50:64] = COAT, 0, COAT
    return parsing_from_maps(labels, people)


def filled(line: str, size_hw) -> np.ndarray:
    """What Ultralytics makes of a line: one polygon, filled."""
    corners = np.array(line.split()[1:], float).reshape(-1, 2) * size_hw[::-1]
    dense = np.zeros((4 * size_hw[0], 4 * size_hw[1]), np.uint8)
    cv2.fillPoly(dense, [np.round(corners * 4 - 0.5).astype(np.int32)], 1)
    return dense[2::4, 2::4].astype(bool)


# YOLO


def test_yolo_lines_filled_again_are_the_parts():
    for parsing in (made_up_parsing(), with_a_hole_and_two_pieces()):
        parts = [part for person in parsing.people for part in person.parts.values()]
        lines = yolo.to_yolo(parsing).splitlines()
        assert [int(line.split()[0]) for line in lines] == [part.class_id - 1 for part in parts]
        for line, part in zip(lines, parts, strict=True):
            mask = Mask.from_dense(filled(line, parsing.size_hw))
            assert mask.iou(part.mask) > 0.98


def test_yolo_people_and_names():
    lines = yolo.to_yolo(made_up_parsing(), "people").splitlines()
    assert [line.split()[0] for line in lines] == ["19", "19"]
    assert len(yolo.to_yolo(made_up_parsing(), "both").splitlines()) == 14
    assert yolo.to_yolo(empty_parsing()) == ""
    names = yolo.yolo_names(CIHP)
    assert names[19] == "person" and names[FACE - 1] == "Face" and len(names) == 20
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(yolo.yolo_dataset(CIHP))["names"][19] == "person"
    with pytest.raises(OptionError, match="choose one of parts"):
        yolo.to_yolo(made_up_parsing(), "all")


# Panoptic


def test_panoptic_segments_are_parts_and_the_rest_of_people():
    parsing = with_a_hole_and_two_pieces()
    picture, annotation = panoptic.to_panoptic(parsing)
    colours = np.asarray(picture).astype(int)
    segments = colours[..., 0] + 256 * colours[..., 1] + 256**2 * colours[..., 2]
    info = {one["id"]: one for one in annotation["segments_info"]}
    assert set(np.unique(segments)) == {0, *info}
    coat, rest = (
        next(one for one in info.values() if one["category_id"] == number)
        for number in (COAT, len(CIHP))
    )
    assert np.array_equal(segments == coat["id"], parsing.label_map == COAT)
    assert np.array_equal(
        segments == rest["id"], (parsing.person_map > 0) & (parsing.label_map == 0)
    )
    assert coat["area"] == (parsing.label_map == COAT).sum() and coat["bbox"] == [10, 10, 54, 40]
    assert coat["person_id"] == 1 and not coat["iscrowd"]


def test_panoptic_data_sets(tmp_path):
    data = panoptic.save_panoptic([made_up_parsing("a"), made_up_parsing("b")], tmp_path / "p")
    assert json.loads(json.dumps(data)) == data
    assert [one["file_name"] for one in data["annotations"]] == ["a.png", "b.png"]
    with Image.open(tmp_path / "p/a.png") as picture:
        assert picture.mode == "RGB" and picture.size == (160, 120)
    known = {one["id"] for one in data["categories"]}
    assert {s["category_id"] for one in data["annotations"] for s in one["segments_info"]} <= known
    with pytest.raises(OptionError, match="two photos are called 'a'"):
        panoptic.save_panoptic([made_up_parsing("a")] * 2, tmp_path / "q")
    assert panoptic.to_panoptic(empty_parsing())[1]["segments_info"] == []


# Label Studio


def unpacked(stream: list[int]) -> np.ndarray:
    """rle-pack's own way back, written from its description: uint8, every fourth byte."""
    bits = "".join(f"{one:08b}" for one in stream)
    place = 0

    def take(width: int) -> int:
        nonlocal place
        place += width
        return int(bits[place - width : place], 2)

    count, word = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        is_run, width = take(1), widths[take(2)]
        length = take(width) + 1
        values += [take(word)] * length if is_run else [take(word) for _ in range(length)]
    return np.array(values, np.uint8)[::4]


@pytest.mark.parametrize(
    "dense",
    [
        np.zeros((3, 5), bool),
        np.ones((200, 300), bool),
        np.arange(35).reshape(5, 7) % 3 == 0,
        np.pad(np.ones((4, 4), bool), 70),
    ],
)
def test_brush_masks_are_read_back(dense):
    stream = label_studio.brush_rle(Mask.from_dense(dense))
    assert all(0 <= one < 256 for one in stream)
    assert np.array_equal(unpacked(stream).reshape(dense.shape), dense * 255)


def test_label_studios_own_reader_reads_them():
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    mask = with_a_hole_and_two_pieces().people[0].parts["Coat"].mask
    read = brush.decode_rle(label_studio.brush_rle(mask)).reshape(*mask.size_hw, 4)
    assert np.array_equal(read[..., 3] > 0, mask.to_dense())


@pytest.mark.parametrize("kind", label_studio.KINDS)
def test_label_studio_predictions_fit_their_interface(kind):
    prediction = label_studio.to_label_studio(made_up_parsing(), kind)
    assert json.loads(json.dumps(prediction)) == prediction
    config = ElementTree.fromstring(label_studio.label_studio_config(CIHP, kind))
    control = config[1]
    assert {one.get("value") for one in control} == set(CIHP.names[1:])
    for one in prediction["result"]:
        assert one["from_name"] == control.get("name") and one["to_name"] == control.get("toName")
        assert one["type"] == control.tag.lower() and one["meta"]["person_id"] in (1, 2)
        assert one["value"][one["type"]][0] in CIHP.names
    assert len(prediction["result"]) == 12
    assert label_studio.to_label_studio(empty_parsing(), kind)["result"] == []
    with pytest.raises(OptionError, match="choose one of brush"):
        label_studio.to_label_studio(made_up_parsing(), "pencil")


# CVAT


def masks_of(image) -> list[tuple[str, str, np.ndarray]]:
    """Label, group and pixels of the masks of an <image>, read from CVAT's description."""
    found = []
    for one in image.iter("mask"):
        left, top, width, height = (int(one.get(key)) for key in ("left", "top", "width", "height"))
        runs = [int(text) for text in one.get("rle").split(",")]
        box = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        dense = np.zeros((int(image.get("height")), int(image.get("width"))), bool)
        dense[top : top + height, left : left + width] = box
        found.append((one.get("label"), one.get("group_id"), dense))
    return found


def test_cvat_masks_are_the_people_and_parts_to_the_pixel():
    parsing = with_a_hole_and_two_pieces()
    root = ElementTree.fromstring(cvat.to_cvat(parsing))
    assert root.findtext("version") == "1.1" and root.findtext("meta/task/size") == "1"
    names = [one.text for one in root.iterfind("meta/task/labels/label/name")]
    assert names == [*CIHP.names[1:], "person"]
    [person, coat] = masks_of(root.find("image"))
    assert (person[:2], coat[:2]) == (("person", "1"), ("Coat", "1"))
    assert np.array_equal(person[2], parsing.person_map == 1)
    assert np.array_equal(coat[2], parsing.label_map == COAT)


def test_cvat_data_sets_and_polygons():
    text = cvat.cvat_dataset([made_up_parsing("a"), empty_parsing(name="b & c")], "polygons")
    first, second = ElementTree.fromstring(text).iterfind("image")
    assert (first.get("id"), second.get("name"), len(second)) == ("0", "b & c", 0)
    assert (
        len(first.findall("polygon")) == 14 and first.find("polygon").get("points").count(";") > 3
    )
    assert "<size>0</size>" in cvat.cvat_dataset([])
    with pytest.raises(OptionError, match="give each its own name with file_names"):
        cvat.cvat_dataset([made_up_parsing()] * 2)
    own = cvat.cvat_dataset([made_up_parsing()] * 2, file_names=["a/x.jpg", PurePath("b", "x.jpg")])
    named = [one.get("name") for one in ElementTree.fromstring(own).iterfind("image")]
    assert named == ["a/x.jpg", "b/x.jpg"]
    with pytest.raises(OptionError, match="choose one of masks"):
        cvat.to_cvat(made_up_parsing(), "boxes")


def test_datumaro_reads_what_is_for_cvat(tmp_path):
    datumaro = pytest.importorskip("datumaro")
    parsing = with_a_hole_and_two_pieces()
    (tmp_path / "images").mkdir()
    Image.fromarray(parsing.image).save(tmp_path / "images/made-up.png")
    (tmp_path / "annotations.xml").write_text(
        cvat.to_cvat(parsing).replace('name="made-up"', 'name="made-up.png"')
    )
    dataset = datumaro.Dataset.import_from(str(tmp_path), "cvat")
    [item] = dataset
    labels = dataset.categories()[datumaro.AnnotationType.label]
    read = {labels[one.label].name: one for one in item.annotations}
    assert np.array_equal(read["Coat"].image > 0, parsing.label_map == COAT)
    assert np.array_equal(read["person"].image > 0, parsing.person_map == 1)
    assert read["Coat"].group == read["person"].group == 1


# Folders of PNGs


def test_binary_masks_of_people_and_parts(tmp_path):
    parsing = made_up_parsing("street")
    files = {path.name: path for path in folders.save_masks(parsing, tmp_path / "new")}
    assert len(files) == 14 and "street.person-2.Left-arm.png" in files
    with Image.open(files["street.person-1.Face.png"]) as picture:
        face = parsing.people[0].parts["Face"].mask.to_dense()
        assert np.array_equal(np.asarray(picture), face * 255)
    archive, again = io.BytesIO(), io.BytesIO()
    folders.write_masks(parsing, archive)
    folders.write_masks(parsing, again)
    assert archive.getvalue() == again.getvalue()
    with zipfile.ZipFile(archive) as opened:
        assert {f"street.{name}" for name in opened.namelist()} == set(files)
        assert opened.read("person-1.png") == files["street.person-1.png"].read_bytes()


def test_names_of_classes_lead_to_no_other_folder(tmp_path):
    full = np.ones((3, 3), np.uint8)
    labels = LabelSet("odd", ("Background", "../../Cap/hat"))
    paths = folders.save_masks(parsing_from_maps(full, 0 * full, labels), tmp_path)
    assert [path.name for path in paths] == ["made-up.nobody...-..-Cap-hat.png"]
    assert list(tmp_path.iterdir()) == paths


def test_folders_for_the_evaluation_code_of_cihp(tmp_path):
    """A part's number is that of its line in the list, and its class that of the label map."""
    parsings = [made_up_parsing("a"), empty_parsing(name="b")]
    assert folders.save_evaluation(parsings, tmp_path, "cihp") == 2
    parts = tmp_path / "cihp_instance_part_maps"
    lines = [line.split() for line in (parts / "a.txt").read_text().splitlines()]
    numbers = np.asarray(Image.open(parts / "a.png"))
    classes = np.array([0, *(int(number) for number, _ in lines)])
    assert len(lines) == 12 == numbers.max() and lines[0][1] == "0.700000"
    assert np.array_equal(classes[numbers], parsings[0].label_map)
    people = np.asarray(Image.open(tmp_path / "cihp_human_maps/a.png"))
    assert np.array_equal(people, parsings[0].person_map)
    assert (tmp_path / "cihp_human_maps/a.txt").read_text() == "1 0.900000\n1 0.800000\n"
    assert (parts / "b.txt").read_text() == ""


def test_folders_for_the_evaluation_code_of_lip(tmp_path):
    parsing = made_up_parsing("a", LIP)
    folders.save_evaluation([parsing], tmp_path / "pred", "lip")
    with Image.open(tmp_path / "pred/a.png") as picture:
        assert np.array_equal(np.asarray(picture), parsing.label_map)
    for parsings, layout, word in (
        ([made_up_parsing()], "lip", "class 10 'Jumpsuits'"),
        ([parsing, parsing], "lip", "two photos"),
        ([parsing], "mhp", "choose one of cihp, lip"),
    ):
        with pytest.raises(OptionError, match=word):
            folders.save_evaluation(parsings, tmp_path / "other", layout)


# SVG


def test_svg_has_a_group_for_each_person_and_a_path_for_each_part():
    root = ElementTree.fromstring(svg.to_svg(made_up_parsing()))
    assert root.get("viewBox") == "0 0 160 120"
    groups = {one.get("data-person"): one for one in root}
    assert set(groups) == {"1", "2"}
    labels = {path.get("data-label") for path in groups["1"]}
    assert labels == set(made_up_parsing().people[0].parts)
    assert all(re.fullmatch("#[0-9a-f]{6}", path.get("fill")) for path in groups["2"])
    with pytest.raises(OptionError, match="palette"):
        svg.to_svg(made_up_parsing(), palette="loud")


# Tables and supervision


def test_rows_of_people_and_parts():
    found = tables.rows(made_up_parsing())
    assert [one["label"] for one in found[:1]] == ["person"] and len(found) == 14
    face = next(one for one in found if one["label"] == "Face" and one["person"] == 1)
    assert face["area"] == 256 and face["share"] == pytest.approx(256 / 160 / 120)
    assert (face["x0"], face["y0"], face["x1"], face["y1"]) == (52, 26, 68, 42)
    pandas = pytest.importorskip("pandas")
    frame = tables.to_pandas(made_up_parsing())
    assert isinstance(frame, pandas.DataFrame) and frame.groupby("person").size().tolist() == [7, 7]
    assert list(tables.to_pandas(empty_parsing()).columns) == list(frame.columns)


@pytest.mark.parametrize("kind", ["people", "parts"])
def test_supervision_takes_them(kind):
    pytest.importorskip("supervision")
    parsing = made_up_parsing()
    found = tables.to_supervision(parsing, kind)
    assert len(found) == (2 if kind == "people" else 12)
    assert found.mask.sum() == (parsing.person_map > 0).sum()
    assert set(found.data["person_id"]) == {1, 2}
    assert len(found[found.confidence > 0.85]) == (1 if kind == "people" else 0)
    assert len(tables.to_supervision(empty_parsing(), kind)) == 0


def fields_of_fiftyone(parsing):
    fields = tables.to_fiftyone(parsing)
    height, width = parsing.size_hw
    for name, count in (("people", 2), ("parts", 12)):
        assert len(fields[name].detections) == count
    face = next(one for one in fields["parts"].detections if one.label == "Face")
    x, y, w, h = face.bounding_box
    assert (x * width, y * height, w * width, h * height) == pytest.approx((52, 26, 16, 16))
    assert (face.person_id, face.confidence) == (1, 0.7)
    assert face.mask.shape == (16, 16) and face.mask.all()
    assert np.array_equal(fields["classes"].mask, parsing.label_map)
    return fields


def test_fields_of_fiftyones_samples(monkeypatch):
    stand_in = SimpleNamespace(
        **dict.fromkeys(("Detection", "Detections", "Segmentation"), SimpleNamespace)
    )
    monkeypatch.setitem(sys.modules, "fiftyone", stand_in)
    fields_of_fiftyone(made_up_parsing())


def test_fiftyone_takes_them():
    fiftyone = pytest.importorskip("fiftyone")
    fields = fields_of_fiftyone(made_up_parsing())
    sample = fiftyone.Sample(filepath="street.jpg", **fields)
    assert [one.label for one in sample["people"].detections] == ["person"] * 2


def test_missing_packages_and_kinds_are_told(monkeypatch):
    with pytest.raises(OptionError, match="choose people or parts"):
        tables.to_supervision(made_up_parsing(), "all")
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtra, match="pip install supervision"):
        tables.to_supervision(made_up_parsing())
