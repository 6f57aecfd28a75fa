"""result.py: people, parts and the short methods of a parse."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing

from humanparse import formats, render


def test_people_and_parts_know_their_box_and_area():
    person = made_up_parsing().people[1]
    assert person.box_xyxy == (80, 20, 120, 100)
    assert person.parts["Left-arm"].box_xyxy == (110, 42, 120, 72)
    assert person.parts["Left-arm"].area == 300
    assert person.area == sum(part.area for part in person.parts.values())


def test_touching_people_keep_their_own_arms():
    first, second = made_up_parsing().people
    assert first.parts["Left-arm"].box_xyxy[2] == second.parts["Right-arm"].box_xyxy[0] == 80
    assert first.mask.intersection(second.mask) == 0


def test_size_is_height_and_width_of_the_photo():
    assert made_up_parsing().size_hw == (120, 160)


def test_a_photo_without_people_is_an_ordinary_result():
    parsing = empty_parsing((4, 5))
    assert parsing.people == () and parsing.size_hw == (4, 5)
    assert parsing.overlay(legend=False).size == (5, 4)


def test_results_are_shown_in_a_line_their_people_as_a_table():
    parsing = made_up_parsing("street")
    assert repr(parsing) == "<Parsing 'street' 160x120, 2 people>"
    assert repr(empty_parsing()) == "<Parsing 'empty' 160x120, 0 people>"
    head, first, second = repr(parsing.people).splitlines()
    assert head.split() == ["person", "score", "box", "pixels", "parts"]
    assert first.startswith("1       0.90   40, 20, 80, 100") and "Face" in second
    assert repr(empty_parsing().people) == "()"
    person = parsing.people[0]
    assert repr(person).startswith("<Person 1 0.90, ") and repr(person).endswith("Right-arm>")
    assert repr(person.parts["Face"]) == "<Part 'Face' 0.70, 256 pixels>"


def test_notebooks_show_the_overlay():
    assert made_up_parsing()._repr_png_().startswith(b"\x89PNG")


def test_results_pickle_and_copy():
    parsing = made_up_parsing()
    for other in (pickle.loads(pickle.dumps(parsing)), copy.deepcopy(parsing)):
        assert np.array_equal(other.label_map, parsing.label_map)
        assert repr(other.people) == repr(parsing.people) and isinstance(other.people, tuple)


def test_results_cannot_be_changed():
    parsing = made_up_parsing()
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsing.people = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsing.people[0].score = 1.0


def test_short_methods_open_the_doors_to_render_and_formats(tmp_path):
    parsing = made_up_parsing(name="street")
    assert parsing.overlay(opacity=0.3).tobytes() == render.overlay(parsing, opacity=0.3).tobytes()
    assert (
        parsing.colormap(palette="classic").tobytes()
        == render.colormap(parsing, palette="classic").tobytes()
    )
    assert parsing.to_json(masks=False) == formats.to_json(parsing, masks=False)
    saved = parsing.save(tmp_path, palette="classic")
    assert [path.name for path in saved] == [
        "street.overlay.png", "street.colormap.png", "street.labels.png", "street.json",
    ]  # fmt: skip


def test_the_made_up_parsing_is_true_to_its_maps():
    parsing = made_up_parsing()
    for person in parsing.people:
        assert np.array_equal(person.mask.to_dense(), parsing.person_map == person.id)
        for part in person.parts.values():
            assert (parsing.label_map[part.mask.to_dense()] == part.class_id).all()
            assert parsing.labels.names[part.class_id] == part.label
