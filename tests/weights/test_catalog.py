"""A model's name stands for a file, and what stands for none is refused."""

import pytest

from humanparse.errors import UnknownModel
from humanparse.weights.catalog import DEFAULT_MODEL, model_file


def test_the_model_inside_the_package_is_the_default():
    assert model_file(None) == model_file(DEFAULT_MODEL)
    assert model_file(None).stat().st_size <= 16_000_000


def test_a_path_is_taken_as_it_is(tmp_path):
    file = tmp_path / "own.onnx"
    file.touch()
    assert model_file(file) == file


def test_a_name_that_is_nothing_is_refused():
    with pytest.raises(UnknownModel, match=rf"'no-such'.*{DEFAULT_MODEL}"):
        model_file("no-such")
