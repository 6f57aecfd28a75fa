"""The log has every step once, whatever was interrupted, and the curves are drawn from it."""

import json
import sys
import types

import numpy as np
import pytest

pytest.importorskip("torch")

from humanparse.training.curves import COLOURS, HEIGHT, WIDTH, draw_curves
from humanparse.training.log import TrainingLog, read_log


def write_steps(folder, steps, done=0):
    with TrainingLog(folder, done, log=lambda line: None) as log:
        for step in steps:
            log.trained(step, 10, {"a": 1 / step, "b": 1.0}, lr=0.1, photos_per_s=2.0)
        log.draw()


def test_what_was_logged_after_the_checkpoint_is_removed(tmp_path):
    write_steps(tmp_path, (1, 2, 3))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # killed here
    write_steps(tmp_path, (3, 4), done=2)
    assert [entry["step"] for entry in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4]
    assert all(json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())


def test_a_new_run_begins_a_new_log(tmp_path):
    write_steps(tmp_path, (1, 2))
    write_steps(tmp_path, (1,))
    assert len(read_log(tmp_path / "log.jsonl")) == 1


def test_losses_are_logged_with_their_sum(tmp_path):
    lines = []
    with TrainingLog(tmp_path, 0, lines.append) as log:
        log.trained(5, 10, {"a": 0.25, "b": 1.0}, stage=1, lr=0.1, photos_per_s=2.5)
        log.validated(5, {"mIoU": 0.5}, best=True)
    assert lines == [
        "step 5/10  2.5 photos/s  loss 1.250  a 0.250 b 1.000",
        "step 5  held out: mIoU 0.500  (best so far)",
    ]
    first, second = read_log(tmp_path / "log.jsonl")
    assert first == {
        "step": 5,
        "stage": 1,
        "lr": 0.1,
        "photos_per_s": 2.5,
        "loss": 1.25,
        "losses": {"a": 0.25, "b": 1.0},
    }
    assert second == {"step": 5, "validation": {"mIoU": 0.5}, "best": True}


def test_values_that_are_not_finite_are_null_in_the_log(tmp_path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    with TrainingLog(tmp_path, 0, log=lambda line: None) as log:
        log.trained(1, 2, {"a": float("nan"), "b": 1.0}, lr=0.1)
        log.validated(1, {"mIoU": float("nan"), "person PQ": float("inf")}, best=False)
        log.draw()
    first, second = (
        json.loads(line, parse_constant=refuse)
        for line in (tmp_path / "log.jsonl").read_text().splitlines()
    )
    assert first["loss"] is None and first["losses"] == {"a": None, "b": 1.0}
    assert second["validation"] == {"mIoU": None, "person PQ": None}


def test_curves_fall_where_losses_fall(tmp_path):
    entries = [{"step": step, "loss": 10 - step, "losses": {}} for step in range(1, 10)]
    entries.append({"step": 9, "validation": {"mIoU": 0.5}})
    picture = np.asarray(draw_curves(entries))
    assert picture.shape == (2 * HEIGHT, WIDTH, 3)
    rows, columns = np.nonzero((picture[:HEIGHT, :700] == COLOURS[0]).all(2))
    left, right = columns < 200, columns > 600
    assert left.any() and right.any() and rows[left].mean() + 50 < rows[right].mean()


@pytest.mark.parametrize(
    "entries",
    [[], [{"step": 0, "note": "begins"}], [{"step": 1, "loss": float("nan"), "losses": {}}]],
)
def test_curves_of_nothing_are_an_empty_picture(entries):
    assert draw_curves(entries).size == (WIDTH, HEIGHT)


def test_tensorboard_gets_the_values_too_if_it_is_installed(tmp_path, monkeypatch):
    lines = []

    class Writer:
        def __init__(self, folder, purge_step):
            lines.append(("from", purge_step))

        def add_scalar(self, name, value, step):
            lines.append((name, value, step))

        def close(self):
            lines.append("closed")

    monkeypatch.setitem(
        sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer)
    )
    with TrainingLog(tmp_path, 0, log=lambda line: None) as log:
        log.trained(1, 2, {"a": 0.5}, lr=0.1)
        log.validated(1, {"mIoU": 0.25}, best=False)
    assert lines == [
        ("from", 1),
        ("loss", 0.5, 1),
        ("lr", 0.1, 1),
        ("loss/a", 0.5, 1),
        ("held-out/mIoU", 0.25, 1),
        "closed",
    ]
