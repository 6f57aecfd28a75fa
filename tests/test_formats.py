import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing, parsing_from_maps
from PIL import Image

from humanparse import formats, render
from humanparse.errors import OptionError
from humanparse.labels import CIHP, LabelSet
from humanparse.masks import Mask

DOCS = Path(__file__).parent.parent / "docs" / "json.md"


def crowd(count: int):
    """As many people as asked for, one pixel each, in one row."""
    row = np.arange(count + 1)[None]
    return parsing_from_maps((row > 0).astype(np.uint8), row.astype(np.uint16))


# ModelScope

def test_modelscopes_form_has_a_mask_a_label_and_a_score_for_every_part_and_person():
    parsing = made_up_parsing()
    found = parsing.to_modelscope()
    assert len(found["masks"]) == len(found["labels"]) == len(found["scores"]) == 14
    assert found["labels"][-2:] == ["Human", "Human"] and found["labels"].count("Left-arm") == 2
    assert {mask.shape for mask in found["masks"]} == {(120, 160)} and found["masks"][0].dtype == np.float32
    assert (sum(found["masks"][-2:]) == (parsing.person_map > 0)).all()
    assert empty_parsing().to_modelscope() == {"masks": [], "labels": [], "scores": []}


# JSON

def test_json_round_trip_gives_the_same_maps_people_and_parts():
    parsing = made_up_parsing()
    again = formats.from_json(formats.to_json(parsing))
    assert np.array_equal(again.label_map, parsing.label_map) and again.label_map.dtype == np.uint8
    assert np.array_equal(again.person_map, parsing.person_map) and again.person_map.dtype == np.uint16
    assert again.labels is CIHP and (again.name, again.model) == (parsing.name, parsing.model)
    assert [list(person.parts) for person in again.people] == [list(person.parts) for person in parsing.people]
    assert again.timings_ms == parsing.timings_ms
    assert formats.to_dict(again) == formats.to_dict(parsing)


def test_json_round_trip_keeps_loose_parts():
    label_map = np.zeros((4, 5), np.uint8)
    label_map[1:3, 2] = CIHP.index("Hat")
    again = formats.from_json(formats.to_json(parsing_from_maps(label_map, np.zeros((4, 5), np.uint16))))
    assert [part.label for part in again.loose_parts] == ["Hat"] and again.people == ()
    assert np.array_equal(again.label_map, label_map)


def test_json_of_a_photo_without_people_has_an_empty_list():
    data = formats.to_dict(empty_parsing((3, 4)))
    assert (data["people"], data["loose_parts"], data["height"], data["width"]) == ([], [], 3, 4)
    assert formats.from_dict(data).size_hw == (3, 4)


def test_every_mask_in_the_json_is_the_map_s():
    parsing = made_up_parsing()
    for person in json.loads(formats.to_json(parsing))["people"]:
        mine = parsing.person_map == person["id"]
        assert np.array_equal(Mask.from_rle(person["mask"]).to_dense(), mine)
        for part in person["parts"]:
            assert np.array_equal(Mask.from_rle(part["mask"]).to_dense(), mine & (parsing.label_map == part["class_id"]))


def test_boxes_in_the_json_are_half_open_and_areas_count_pixels():
    person = formats.to_dict(made_up_parsing())["people"][1]
    face = next(part for part in person["parts"] if part["label"] == "Face")
    assert (face["box"], face["area"]) == ([92, 26, 108, 42], 16 * 16)
    assert (face["score"], person["box"]) == (0.7, [80, 20, 120, 100])


def test_json_without_masks_is_small_and_cannot_be_read_back():
    data = formats.to_dict(made_up_parsing(), masks=False)
    assert "mask" not in data["people"][0] and "mask" not in data["people"][0]["parts"][0]
    with pytest.raises(OptionError, match="masks=True"):
        formats.from_dict(data)


def test_names_in_any_script_survive_json():
    parsing = made_up_parsing(name="straße-写真")
    assert formats.to_json(parsing).isascii()
    assert formats.from_json(formats.to_json(parsing)).name == "straße-写真"


def test_an_unknown_label_set_keeps_its_names():
    labels = LabelSet("toys", CIHP.names)
    assert formats.from_dict(formats.to_dict(made_up_parsing(labels=labels))).labels == labels


def test_a_photo_can_be_given_back_and_must_fit():
    parsing = made_up_parsing()
    assert formats.from_dict(formats.to_dict(parsing), image=parsing.image).image is parsing.image
    with pytest.raises(OptionError, match="160x120"):
        formats.from_dict(formats.to_dict(parsing), image=parsing.image[:50])


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"schema": "humanparse/9"}', '{"schema": "humanparse/1"}'])
def test_text_of_another_kind_is_refused(text):
    with pytest.raises(OptionError):
        formats.from_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 161}, "size|mask"),
        ({"width": 0}, "whole number"),
        ({"height": "120"}, "whole number"),
        ({"people": None}, "damaged"),
        ({"people": [{}]}, "lack"),
        ({"labels": ["Background", "Hat"]}, "Hair"),
        ({"timings_ms": []}, "damaged"),
    ],
)
def test_damaged_data_are_refused(change, message):
    with pytest.raises(OptionError, match=message):
        formats.from_dict({**formats.to_dict(made_up_parsing()), **change})


def test_people_out_of_order_are_refused():
    data = formats.to_dict(made_up_parsing())
    data["people"].reverse()
    with pytest.raises(OptionError, match="1 to 2 in order"):
        formats.from_dict(data)


def test_the_example_in_the_docs_reads_and_writes_back_unchanged():
    example = json.loads(re.search(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL).group(1))
    assert formats.to_dict(formats.from_dict(example)) == example


# Indexed pictures and arrays

def test_values_of_the_labels_picture_are_the_classes_and_its_palette_the_label_set_s(tmp_path):
    parsing = made_up_parsing()
    for palette in ("clear", "classic"):
        [path] = formats.save(parsing, tmp_path, "labels", palette=palette)
        picture = Image.open(path)
        assert picture.mode == "P" and np.array_equal(np.asarray(picture), parsing.label_map)
        colours = np.reshape(picture.getpalette(), (-1, 3))[: len(CIHP)]
        assert [tuple(colour) for colour in colours.tolist()] == list(CIHP.palette(palette))


def test_values_of_the_people_picture_are_their_numbers(tmp_path):
    for parsing, mode in ((made_up_parsing(), "P"), (crowd(255), "P"), (crowd(300), "I;16")):
        [path] = formats.save(parsing, tmp_path, "people")
        picture = Image.open(path)
        assert picture.mode == mode and np.array_equal(np.asarray(picture), parsing.person_map)


def test_the_people_picture_shows_the_colours_of_the_people_map():
    parsing = made_up_parsing()
    assert formats.people_image(parsing).convert("RGB").tobytes() == render.people_map(parsing).tobytes()


def test_npz_holds_both_maps_and_the_people(tmp_path):
    parsing = made_up_parsing()
    [path] = formats.save(parsing, tmp_path, ["npz"])
    with np.load(path, allow_pickle=False) as data:
        assert np.array_equal(data["label_map"], parsing.label_map)
        assert np.array_equal(data["person_map"], parsing.person_map)
        assert data["label_names"].tolist() == list(CIHP.names)
        assert data["person_ids"].tolist() == [1, 2]
        assert data["person_scores"].tolist() == pytest.approx([0.9, 0.8])
        assert data["person_boxes_xyxy"].tolist() == [[40, 20, 80, 100], [80, 20, 120, 100]]


# save

def test_save_makes_the_folder_and_names_files_after_the_photo(tmp_path):
    folder = tmp_path / "a" / "b"
    saved = formats.save(made_up_parsing(name="street"), folder, formats.FORMATS)
    assert [path.name for path in saved] == [
        "street.overlay.png", "street.colormap.png", "street.labels.png", "street.people.png", "street.cutout.png",
        "street.json", "street.npz",
    ]  # fmt: skip
    assert sorted(folder.iterdir()) == sorted(saved) == sorted(formats.paths("street", folder, formats.FORMATS))
    assert formats.from_json((folder / "street.json").read_text()).people[0].area == made_up_parsing().people[0].area


def test_every_format_works_without_people_and_on_tiny_and_narrow_photos(tmp_path):
    for size_hw in ((1, 1), (3, 2000), (2000, 3)):
        full = np.ones(size_hw, np.uint8)
        formats.save(empty_parsing(size_hw), tmp_path, formats.FORMATS)
        formats.save(parsing_from_maps(full, full.astype(np.uint16)), tmp_path, formats.FORMATS)


def test_saving_again_replaces_the_file(tmp_path):
    formats.save(made_up_parsing(name="x"), tmp_path, "json")
    formats.save(empty_parsing(name="x"), tmp_path, "json")
    assert json.loads((tmp_path / "x.json").read_text())["people"] == []


def test_a_failing_writer_leaves_no_file_and_keeps_the_old_one(tmp_path, monkeypatch):
    def fail(parsing, file, palette):
        file.write(b"half of i")
        raise OSError("the disk is full")

    monkeypatch.setitem(formats.FORMATS, "json", formats.Format(".json", fail))
    (tmp_path / "x.json").write_text("old")
    with pytest.raises(OSError, match="full"):
        formats.save(made_up_parsing(name="x"), tmp_path, "json")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_text() == "old"


def test_an_unknown_format_is_named_with_the_known_ones_before_anything_is_written(tmp_path):
    with pytest.raises(OptionError, match=r"'gif'.*overlay, colormap, labels, people, cutout, json, npz"):
        formats.save(made_up_parsing(), tmp_path / "new", ["json", "gif"])
    with pytest.raises(OptionError, match="palette 'pale'"):
        formats.save(made_up_parsing(), tmp_path / "new", ["json"], palette="pale")
    assert not (tmp_path / "new").exists()


def test_a_format_given_twice_is_written_once(tmp_path):
    assert formats.save(made_up_parsing(), tmp_path, ["json", "json"]) == [tmp_path / "made-up.json"]


def test_a_file_where_the_folder_should_be_is_an_error_that_says_so(tmp_path):
    (tmp_path / "out").write_text("")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(OptionError, match="in the way"):
            formats.save(made_up_parsing(), folder, "json")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a\\b", "a\0b"])
def test_a_name_that_would_leave_the_folder_is_refused(name, tmp_path):
    with pytest.raises(OptionError, match="cannot name a file"):
        formats.paths(name, tmp_path, "json")


def test_saved_files_have_the_permissions_of_ordinary_files(tmp_path):
    (tmp_path / "plain").write_text("")
    [path] = formats.save(made_up_parsing(), tmp_path, "json")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_pictures_in_files_are_those_of_render(tmp_path):
    parsing = made_up_parsing()
    drawn = {"overlay": render.overlay(parsing), "colormap": render.colormap(parsing), "cutout": render.cutout(parsing)}
    for name, path in zip(drawn, formats.save(parsing, tmp_path, drawn), strict=True):
        picture = Image.open(io.BytesIO(path.read_bytes()))
        assert picture.mode == drawn[name].mode and picture.tobytes() == drawn[name].tobytes()
