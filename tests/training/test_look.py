"""All photos are read before the first step, and all that is wrong with them is reported."""

import json
from functools import partial

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from stick_people import NAMES, write_folder

from humanparse.errors import OptionError
from humanparse.evaluation.datasets import open_dataset
from humanparse.training import look
from humanparse.training.data import look_at_data
from humanparse.training.folder import read_scene_maps
from humanparse.training.look import look_through
from humanparse.training.recipe import Recipe


def quiet(line: str) -> None:
    pass


def photos_of(folder) -> list:
    return [
        (sample, partial(read_scene_maps, num_classes=len(NAMES)))
        for sample in open_dataset(folder).samples
    ]


def cut_short(path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def test_every_bad_photo_is_named_with_its_reason_before_anything_is_learnt(tmp_path):
    folder = write_folder(tmp_path, 6)
    cut_short(folder / "images/01.png")
    (folder / "images/02.png").write_bytes(b"no picture")
    cv2.imwrite(str(folder / "labels/03.png"), np.full((96, 96), 77, np.uint8))
    cv2.imwrite(str(folder / "persons/04.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(OptionError) as refused:
        look_at_data(Recipe(), folder, quiet)
    message = str(refused.value)
    assert message.startswith(
        "4 of 6 photos cannot be learnt from; repair them, or move them away with their labels: "
    )
    for words in (
        "01.png: ",
        "02.png: ",
        "labels/03.png has the value 77",
        "persons/04.png is 9x9",
    ):
        assert words in message
    assert "00.png" not in message and "05.png" not in message and "\n" not in message


def test_held_out_photos_are_looked_at_where_they_are_measured_on(tmp_path):
    folder = write_folder(tmp_path, 10)
    cut_short(folder / "images/09.png")
    look_at_data(Recipe(), folder, quiet)
    with pytest.raises(OptionError, match=r"1 of 10 photos .*09\.png"):
        look_at_data(Recipe(validate_every=1), folder, quiet)


def test_the_second_folder_is_looked_at_together_with_the_first(tmp_path):
    folder, also = write_folder(tmp_path / "data", 2), write_folder(tmp_path / "also", 2)
    cut_short(folder / "images/00.png")
    cut_short(also / "images/01.png")
    with pytest.raises(OptionError) as refused:
        look_at_data(Recipe(also=str(also)), folder, quiet)
    assert all(
        words in str(refused.value)
        for words in ("2 of 4 photos", "data/images/00.png: ", "also/images/01.png: ")
    )


def test_many_bad_photos_are_all_listed_and_the_first_in_the_error(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "MAX_NAMED", 1)
    folder, lines = write_folder(tmp_path, 3), []
    for name in ("00", "01", "02"):
        cut_short(folder / f"images/{name}.png")
    with pytest.raises(OptionError, match="and 2 more, all listed above"):
        look_through(photos_of(folder), lines.append)
    assert [line.split(":")[0] for line in lines] == [
        str(folder / f"images/0{number}.png") for number in range(3)
    ]


def test_a_long_look_says_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "LOG_EVERY_S", -1.0)
    lines = []
    look_through(photos_of(write_folder(tmp_path, 2)), lines.append)
    assert lines == ["looking through the photos: 1 of 2", "looking through the photos: 2 of 2"]


def test_labels_of_nothing_but_background_and_unknown_are_refused(tmp_path):
    folder = write_folder(tmp_path, 2)
    for name in ("00", "01"):
        cv2.imwrite(str(folder / f"labels/{name}.png"), np.full((96, 96), 255, np.uint8))
    with pytest.raises(OptionError, match="the labels of all 2 photos hold nothing but background"):
        look_at_data(Recipe(), folder, quiet)


def test_labels_of_people_who_are_nowhere_are_refused(tmp_path):
    folder = write_folder(tmp_path, 2)
    for name in ("00", "01"):
        cv2.imwrite(str(folder / f"persons/{name}.png"), np.zeros((96, 96), np.uint8))
    with pytest.raises(OptionError, match=r"persons/ has nobody \(0\) on all 2 photos; number"):
        look_at_data(Recipe(), folder, quiet)


def test_classes_that_nothing_teaches_are_logged(tmp_path):
    folder, lines = write_folder(tmp_path, 3), []
    with (folder / "labels.txt").open("a", encoding="utf-8") as names:
        names.write("\nCape\nCrown\n")
    (folder / "wears.json").write_text(json.dumps({"00": {"1": {"wears": ["Crown"]}}}))
    look_at_data(Recipe(), folder, lines.append)
    assert lines == ["no photo to learn from shows Cape: the model will not find these"]


def test_labels_of_a_turned_photo_are_to_be_turned_too(tmp_path):
    folder = write_folder(tmp_path, 2)
    cv2.imwrite(str(folder / "images/00.png"), np.zeros((64, 96, 3), np.uint8))
    for part in ("labels", "persons"):
        cv2.imwrite(str(folder / part / "00.png"), np.ones((96, 64), np.uint8))
    with pytest.raises(OptionError, match=r"00\.png: is 96x64 .* 64x96; turn them as .* shown"):
        look_at_data(Recipe(), folder, quiet)


def test_where_lists_say_what_people_wear_labels_may_hold_people_alone(tmp_path):
    folder = write_folder(tmp_path, 1)
    cv2.imwrite(str(folder / "labels/00.png"), np.full((96, 96), 255, np.uint8))
    (folder / "wears.json").write_text(json.dumps({"00": {"1": {"wears": ["Clothes"]}}}))
    look_at_data(Recipe(holdout=0), folder, quiet)


def test_a_list_for_a_person_who_is_not_there_is_found_too(tmp_path):
    folder = write_folder(tmp_path, 1)
    (folder / "wears.json").write_text(json.dumps({"00": {"3": {"wears": ["Clothes"]}}}))
    with pytest.raises(OptionError, match=r"1 of 1 photos .*person 3 of '00'"):
        look_at_data(Recipe(holdout=0), folder, quiet)


def test_what_is_left_out_of_the_data_is_logged(tmp_path):
    folder, lines = write_folder(tmp_path, 2), []
    (folder / "images/01.png").rename(folder / "images/01.psd")
    look_at_data(Recipe(), folder, lines.append)
    assert [line.split(": ")[1] for line in lines] == [
        "1 file (01.psd) with an ending that is not supported",
        "1 label (01) without a photo of that name",
    ]


def test_lists_of_photos_that_there_are_not_are_logged(tmp_path):
    folder, lines = write_folder(tmp_path, 2), []
    lists = {name: {"1": {"wears": ["Clothes"]}} for name in ("00", "01", "01.png")}
    (folder / "wears.json").write_text(json.dumps(lists))
    look_at_data(Recipe(holdout=2), folder, lines.append)
    assert lines == [
        f"left out of {folder / 'wears.json'}: 1 list (01.png) without a photo of that name; "
        "names there have no ending"
    ]
