"""Whatever a program passes to the public functions, the errors are ours."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import empty_parsing

from humanparse import Mask, formats, labels, render
from humanparse.arguments import number_between, one_or_more, whole_number
from humanparse.errors import HumanParseError, OptionError

PARSING = empty_parsing()
ODD = [
    None,
    5,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    "x",
    "a\0b",
    "",
    b"x",
    [],
    {},
    [5],
    [None],
    (1, 2),
    object(),
    {"size": [2, 2]},
    {"size": [2], "counts": ""},
    {"size": [2, 2], "counts": "é\ud800"},
    {"size": 2, "counts": None},
]
CALLS = {
    "save, folder": lambda odd: PARSING.save(odd, "json"),
    "save, formats": lambda odd: PARSING.save("results", odd),
    "save, palette": lambda odd: PARSING.save("results", "json", palette=odd),
    "paths, name": lambda odd: formats.paths(odd, "results", "json"),
    "overlay, palette": lambda odd: PARSING.overlay(palette=odd),
    "overlay, opacity": lambda odd: PARSING.overlay(opacity=odd),
    "blur, labels": lambda odd: render.blur(PARSING, odd),
    "blur, people": lambda odd: render.blur(PARSING, person_ids=odd),
    "blur, strength": lambda odd: render.blur(PARSING, strength=odd),
    "cutout, labels": lambda odd: render.cutout(PARSING, labels=odd),
    "cutout, people": lambda odd: render.cutout(PARSING, odd),
    "cutout, feather": lambda odd: render.cutout(PARSING, feather_px=odd),
    "recolour, labels": lambda odd: render.recolour(PARSING, odd, (1, 2, 3)),
    "recolour, colour": lambda odd: render.recolour(PARSING, "Face", odd),
    "from_json": formats.from_json,
    "from_dict": formats.from_dict,
    "encode, picture": lambda odd: formats.encode_picture(odd, "png"),
    "encode, kind": lambda odd: formats.encode_picture(PARSING.colormap(), odd),
    "encode, quality": lambda odd: formats.encode_picture(PARSING.colormap(), "jpeg", odd),
    "mask from runs": Mask.from_rle,
    "polygons": lambda odd: Mask.from_dense(np.ones((3, 3), bool)).to_polygons(odd),
    "label set": labels.label_set,
    "palette": PARSING.labels.palette,
    "class": PARSING.labels.index,
}


@pytest.mark.parametrize("call", CALLS)
def test_odd_arguments_give_our_errors_or_work(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = 0
    for odd in ODD:
        try:
            CALLS[call](odd)
        except (HumanParseError, OSError):
            refused += 1
    assert refused


def test_numbers_are_what_python_and_numpy_call_numbers():
    assert whole_number("n", np.int64(3), 1) == 3
    assert number_between("x", np.float32(0.5), 0, 1) == 0.5
    for value in (0, 2.0, "3", True, None):
        with pytest.raises(
            OptionError, match=r"n is .*; give a whole number of at least 1, or None"
        ):
            whole_number("n", value, 1, ", or None")
    for value in (-0.1, 1.1, "0.5", False, float("nan")):
        with pytest.raises(OptionError, match=r"x is .*; give a number from 0 to 1$"):
            number_between("x", value, 0, 1)


def test_a_single_value_is_a_list_of_one():
    assert one_or_more("labels", "Face") == ["Face"]
    assert one_or_more("person_ids", np.int64(2)) == [2]
    assert one_or_more("labels", ("Face", "Hat")) == ["Face", "Hat"]
