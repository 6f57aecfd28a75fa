"""The whole way on made-up photos: train, break off, go on, export, parse."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from humanparse import HumanParser  # noqa: E402
from humanparse.model.bodypix import load_bodypix  # noqa: E402
from humanparse.model.centre_parser import centre_parser  # noqa: E402
from humanparse.training.loop import Recipe, start_from, train, trained_model  # noqa: E402
from humanparse.training.photos import TEACHER_FILE  # noqa: E402

SMALL = Recipe(steps=4, sizes=((64, 2), (96, 1)), warmup_steps=1, workers=0, threads=1, save_every=2, backbone_lr=1e-4)


class Killed(Exception):
    pass


def test_a_run_that_was_broken_off_goes_on_to_the_same_weights(data, tmp_path, monkeypatch):
    straight = train(data, tmp_path / "straight", SMALL, print=lambda line: None)

    from humanparse.training import loop
    save, calls = loop._save, []

    def save_and_die(*arguments):
        save(*arguments)
        calls.append(arguments[1])
        raise Killed

    monkeypatch.setattr(loop, "_save", save_and_die)
    with pytest.raises(Killed):
        train(data, tmp_path / "broken", SMALL, print=lambda line: None)
    monkeypatch.setattr(loop, "_save", save)
    resumed = train(data, tmp_path / "broken", SMALL, print=lambda line: None)
    assert calls == [2]
    one, other = trained_model(straight).state_dict(), trained_model(resumed).state_dict()
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=1e-5), name


def test_training_changes_the_weights(data, tmp_path):
    teacher = load_bodypix(data / TEACHER_FILE, centred=True)
    before = start_from(teacher, centre_parser()).state_dict()
    after = trained_model(train(data, tmp_path, SMALL, print=lambda line: None)).state_dict()
    for part in ("backbone.body.0.weight", "class_head.weight", "centre_head.weight", "context.reduce.0.weight"):
        assert not torch.equal(before[part], after[part])


def test_the_person_map_starts_as_the_teachers(data):
    teacher = load_bodypix(data / TEACHER_FILE, centred=True).eval()
    model = start_from(teacher, centre_parser()).eval()
    pixels = torch.rand(1, 3, 64, 96) * 2 - 1
    with torch.inference_mode():
        wanted = torch.nn.functional.interpolate(teacher(pixels)["segments"], scale_factor=4.0, mode="bilinear")
        assert torch.allclose(model(pixels)["person"], wanted, atol=1e-4)


def test_exported_weights_agree_with_torch_at_sizes_that_were_not_traced_and_parse(data, tmp_path):
    pytest.importorskip("onnx")
    from humanparse.training.export import TOLERANCE, export

    checkpoint = train(data, tmp_path, SMALL, print=lambda line: None)
    with pytest.warns():  # the exporter of PyTorch announces its successor
        assert export(checkpoint, tmp_path / "model.onnx") < TOLERANCE
    result = HumanParser(tmp_path / "model.onnx").parse(np.zeros((50, 70, 3), np.uint8))
    assert result.size_hw == (50, 70) and result.model == "humanparse-small"


def test_a_cell_looks_at_the_middle_of_its_square():
    """Centred padding: moving the picture by one cell moves every feature by one cell, and nothing drifts sideways."""
    from humanparse.model.bodypix import MobileNetV1

    torch.manual_seed(0)
    backbone = MobileNetV1(centred=True)
    dot = torch.zeros(1, 3, 640, 640, requires_grad=True)
    for stride, cell in ((4, 80), (8, 40), (16, 20)):
        dot.grad = None
        features = backbone(dot)[stride]
        features[0, :, cell, cell].sum().backward()
        rows = torch.nonzero(dot.grad.abs().sum((0, 1, 3)))
        middle = (rows.min() + rows.max() + 1) / 2
        assert abs(middle - (cell + 0.5) * stride) <= 2.5 * stride / 16 + 1.5
