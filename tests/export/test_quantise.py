"""An int8 file runs in every engine, at any size, and finds nearly the same as the fp32 file."""

import builtins
import importlib.util
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import onnx
from typer.testing import CliRunner

import humanparse
from humanparse import HumanParser
from humanparse.cli import app
from humanparse.coarse import coarse
from humanparse.engines import choose_engine, is_int8, open_engine
from humanparse.errors import BrokenModel, MissingExtra, OptionError
from humanparse.export.quantise import choose_photos, quantise
from humanparse.weights.catalog import model_file

PHOTO = Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg"
ENGINES = [
    "onnxruntime",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("openvino") is None,
            reason="openvino is not installed",
        ),
    ),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    shutil.copy(PHOTO, folder / "a.jpg")
    (folder / "b.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def small(photos):
    """The model inside the package, in int8."""
    pytest.importorskip("nncf")
    said = []
    out = photos.parent / "small.int8.onnx"
    quantise(model_file(None), out, photos, log=said.append)
    assert "b.png is left out" in said[0]
    assert (
        said[1].startswith("only 1 photo to measure the ranges of values with")
        and "32 of all kinds" in said[1]
    )
    return out


@pytest.mark.parametrize("engine", ENGINES)
def test_int8_finds_the_same_person_with_the_same_parts(small, engine, tmp_path, monkeypatch):
    monkeypatch.setenv("HUMANPARSE_HOME", str(tmp_path))
    full, eight = HumanParser().parse(PHOTO), HumanParser(small, engine=engine).parse(PHOTO)
    a, b = full.person_map > 0, eight.person_map > 0
    assert len(full.people) == len(eight.people) == 1
    assert (a & b).sum() / (a | b).sum() > 0.97
    # A suit lies between Coat and UpperClothes; where the line is drawn depends on the processor.
    assert (full.label_map == eight.label_map).mean() > 0.93
    assert (coarse(full).label_map == coarse(eight).label_map).mean() > 0.97


def test_onnx_runtime_computes_nearly_all_convolutions_in_eight_bits(small, tmp_path):
    """31 of 66 stayed in float before padding and scales were as its kernels take them."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    runtime.InferenceSession(str(small), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node]
    assert kinds.count("QLinearConv") > 8 * (kinds.count("Conv") + kinds.count("FusedConv"))
    assert "Pad" not in kinds


def test_the_int8_file_is_smaller_and_keeps_its_card(small):
    assert small.stat().st_size < 0.5 * model_file(None).stat().st_size
    assert HumanParser(small, engine="onnxruntime").card == HumanParser().card
    assert is_int8(small) and not is_int8(model_file(None))


@pytest.mark.parametrize("engine", ENGINES)
def test_m2fp_in_int8_stays_close_to_fp32_at_any_size(engine, m2fp, m2fp_int8):
    full, eight = open_engine("onnxruntime", m2fp), open_engine(engine, m2fp_int8)
    pixels = np.random.default_rng(0).normal(size=(1, 3, 160, 96)).astype(np.float32)
    wanted, got = full.run(pixels), eight.run(pixels)
    assert got["pred_masks"].shape == wanted["pred_masks"].shape == (1, 20, 40, 24)
    inside, found = wanted["pred_masks"] > 0, got["pred_masks"] > 0
    assert (inside == found).mean() > 0.8


@pytest.fixture(scope="module")
def m2fp_int8(photos, m2fp):
    """The small M2FP, which sees photos 96 pixels high, converted by the command."""
    pytest.importorskip("nncf")
    file = photos.parent / "m2fp.int8.onnx"
    arguments = ["convert", m2fp, "-o", file, "--precision", "int8", "--calibrate", photos]
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    assert "m2fp-tiny, int8" in done.stdout and "Apache-2.0" in done.stdout
    return file


def test_no_sum_of_two_products_in_m2fp_needs_more_than_sixteen_bits(m2fp_int8):
    """Processors without VNNI cut off what is larger; 255 · 64 · 2 is just within."""
    weights = [
        onnx.numpy_helper.to_array(tensor).astype(int)
        for tensor in onnx.load(m2fp_int8).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.dims
    ]
    assert len(weights) > 20
    assert max(np.abs(one).max() for one in weights) <= 64


def test_int8_is_not_made_of_int8(small, photos, tmp_path):
    with pytest.raises(BrokenModel, match="int8 already"):
        quantise(small, tmp_path / "again.onnx", photos)
    assert not list(tmp_path.iterdir())


def test_photos_are_spread_over_the_folder(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.JPG").touch()
    (tmp_path / "notes.txt").touch()
    assert [file.stem for file in choose_photos(tmp_path, 4)] == ["0", "3", "6", "9"]
    assert len(set(choose_photos(tmp_path, 7))) == 7  # not every second one


def test_our_own_pictures_are_no_photos_to_calibrate_by(tmp_path):
    for name in ("street.jpg", "street.overlay.png", "street.labels.png", "a/x.tif", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.name for file in choose_photos(tmp_path)] == ["x.tif", "street.jpg"]


def test_without_nncf_the_error_names_the_extra(photos, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "nncf":
            raise ModuleNotFoundError("No module named 'nncf'", name="nncf")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"nncf is missing.*pip install 'nncf>="):
        quantise(model_file(None), tmp_path / "out.onnx", photos)


def test_a_folder_of_broken_pictures_is_refused(tmp_path):
    pytest.importorskip("nncf")
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(OptionError, match="none of the 1 pictures"):
        quantise(model_file(None), tmp_path / "out.onnx", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--precision", "int8"], "--calibrate FOLDER"),
        (["--calibrate", "{folder}"], "--precision int8"),
        (["--precision", "int8", "--calibrate", "{folder}/none"], "there is no folder"),
        (["--precision", "int8", "--calibrate", "{folder}"], "no pictures in"),
        ([], "already been converted"),
    ],
)
def test_the_command_says_what_int8_needs(tmp_path, arguments, words):
    out = tmp_path / "out.onnx"
    done = CliRunner().invoke(
        app,
        [
            "convert",
            str(model_file(None)),
            "-o",
            str(out),
            *(one.format(folder=tmp_path) for one in arguments),
        ],
    )
    assert done.exit_code == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("out", ["mine.onnx", "other.onnx"])
def test_neither_the_source_nor_what_is_there_is_written_over(tmp_path, photos, out):
    source, other = tmp_path / "mine.onnx", tmp_path / "other.onnx"
    shutil.copy(model_file(None), source)
    other.write_bytes(b"precious")
    before = (tmp_path / out).read_bytes()
    words = ["convert", str(source), "-o", str(tmp_path / out), "--calibrate", str(photos)]
    words += ["--precision", "int8", *(["--overwrite"] if out == "mine.onnx" else [])]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2 and "choose another name" in done.stderr
    assert (tmp_path / out).read_bytes() == before


def test_auto_takes_openvino_for_int8_where_it_is_installed(small, monkeypatch):
    monkeypatch.setattr("humanparse.engines.find_spec", lambda name: True)
    assert choose_engine(small) == "openvino"
    monkeypatch.setattr("humanparse.engines.find_spec", lambda name: None)
    assert choose_engine(small) == "onnxruntime"


def test_the_rest_of_the_program_can_still_log(small, caplog):
    logging.getLogger("someone.else").warning("heard")
    assert "heard" in caplog.text
