"""How far two sets of outputs differ, and that exports which differ too much are refused."""

import numpy as np
import pytest

from humanparse.errors import ModelError
from humanparse.export.agreement import compare, difference

ONES = {"a": np.ones((1, 2, 2), np.float32), "b": np.zeros((1, 3), np.float32)}


def changed(name: str, value: float) -> dict[str, np.ndarray]:
    """ONES with the first value of one output increased."""
    outputs = {key: array.copy() for key, array in ONES.items()}
    outputs[name].flat[0] += value
    return outputs


def test_equal_outputs_do_not_differ():
    assert difference(ONES, ONES) == 0.0


def test_the_worst_output_counts_in_its_own_unit():
    assert difference(ONES, changed("a", 0.5)) == pytest.approx(0.5)
    assert difference(ONES, changed("a", 0.5), units={"a": 4.0}) == pytest.approx(0.125)


def test_large_values_differ_in_tenths_of_the_largest():
    expected, actual = {"a": np.array([0.0, 400.0])}, {"a": np.array([2.0, 400.0])}
    assert difference(expected, actual) == pytest.approx(2.0 / 40)
    assert difference(expected, actual, units={"a": 64.0}) == pytest.approx(2.0 / 64)


def test_a_share_leaves_out_the_values_that_agree_least():
    expected, actual = {"a": np.zeros(101)}, {"a": np.zeros(101)}
    actual["a"][0] = 7.0
    assert difference(expected, actual, share=0.9) == 0.0 and difference(expected, actual) == 7.0


@pytest.mark.parametrize("name", ["a", "b"])
def test_what_is_missing_misshaped_or_not_finite_differs_infinitely(name):
    missing = {key: value for key, value in ONES.items() if key != name}
    for actual in (missing, missing | {name: np.zeros(7)}, changed(name, float("nan"))):
        assert difference(ONES, actual) == float("inf")


def test_an_expected_output_that_is_not_a_number_is_a_difference():
    found = difference(changed("a", float("nan")), ONES)
    assert np.isnan(found) and not found <= 1.0


@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_an_export_that_differs_is_refused_with_the_pictures_name(value):
    inputs = [("noise", np.zeros((1, 3, 2, 2), np.float32))]
    with pytest.raises(ModelError, match=r"on noise, more than 0\.1"):
        compare(lambda pixels: changed("a", value), lambda pixels: ONES, inputs, 0.1)
