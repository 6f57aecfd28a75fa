"""A converted file has all it needs, and only a file that agrees with PyTorch is kept."""

import hashlib

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from typer.testing import CliRunner

from humanparse import HumanParser
from humanparse.cli import app
from humanparse.engines import open_engine
from humanparse.errors import BrokenModel, ModelError, OptionError
from humanparse.export.m2fp import convert_checkpoint
from humanparse.export.onnx import write_onnx


@pytest.fixture
def checkpoint(tiny_m2fp):
    return tiny_m2fp[0]


@pytest.fixture
def made(tiny_m2fp):
    return tiny_m2fp[1]


def test_the_file_says_what_it_is_and_where_it_is_from(checkpoint, made):
    card = HumanParser(made).card
    assert (card.name, card.labels.name, card.head, card.license) == (
        "m2fp-tiny-cihp",
        "cihp",
        "queries",
        "CC-BY-NC-4.0",
    )
    assert (card.preprocess.short_side, card.preprocess.filter) == (640, "pil-bilinear")
    assert card.source_sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def test_a_converted_file_parses_a_photo(made):
    photo = np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8)
    assert HumanParser(made, min_score=0).parse(photo).size_hw == (90, 70)


def test_the_command_converts_and_fp16_halves_the_file(checkpoint, made, tmp_path):
    small = tmp_path / "small.onnx"
    done = CliRunner().invoke(
        app,
        ["convert", str(checkpoint), "-o", str(small), "--labels", "cihp", "--precision", "fp16"],
    )
    assert done.exit_code == 0, done.output
    assert "m2fp-tiny-cihp, 20 classes" in done.stdout and "CC-BY-NC-4.0" in done.stdout
    # The graph itself takes as much space as the weights of such a small network.
    assert small.stat().st_size < 0.75 * made.stat().st_size
    pixels = np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype(np.float32)
    full, half = (
        open_engine("onnxruntime", file).run(pixels)["pred_logits"] for file in (made, small)
    )
    assert 0 < np.abs(full - half).mean() < 0.02


class Baked(torch.nn.Module):
    """Depends on the size of the traced picture."""

    def forward(self, pixels):
        return {"sum": pixels.sum(1, keepdim=True) / float(pixels.shape[-1])}


class Nan(torch.nn.Module):
    def forward(self, pixels):
        return {"sum": pixels * float("nan")}


@pytest.mark.parametrize("network", [Baked(), Nan()])
def test_a_graph_that_disagrees_is_not_kept(tmp_path, made, network):
    out = tmp_path / "wrong.onnx"
    out.write_bytes(b"what was there")
    with pytest.raises(ModelError, match="not written"):
        write_onnx(
            network,
            out,
            HumanParser(made).card,
            ("sum",),
            check_sizes_hw=((64, 64),),
            tolerance=1e-3,
        )
    assert out.read_bytes() == b"what was there"
    assert [file.name for file in tmp_path.iterdir()] == ["wrong.onnx"]


def test_an_unknown_precision_is_refused(checkpoint, tmp_path):
    with pytest.raises(OptionError, match=r"int3.*fp32, fp16"):
        convert_checkpoint(checkpoint, tmp_path / "x.onnx", precision="int3")


def test_a_broken_checkpoint_leaves_no_file(tmp_path):
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(BrokenModel):
        convert_checkpoint(broken, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == [broken]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ["{checkpoint}", "-o", "{folder}/x.onnx", "--labels", "mhp-v2"],
            2,
            "mhp-v2 has 59 classes",
        ),
        (["{folder}/none.pt", "-o", "{folder}/x.onnx"], 2, "there is no file"),
        (["{checkpoint}", "-o", "{folder}/none/x.onnx"], 2, "there is no folder"),
        ([__file__, "-o", "{folder}/x.onnx"], 3, "not a PyTorch checkpoint"),
    ],
)
def test_the_command_refuses_in_one_line(checkpoint, tmp_path, arguments, code, words):
    done = CliRunner().invoke(
        app, ["convert", *(one.format(checkpoint=checkpoint, folder=tmp_path) for one in arguments)]
    )
    assert done.exit_code == code and words in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
