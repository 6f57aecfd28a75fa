"""The parts of `humanparse bench`, with a network that answers at once."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from humanparse import HumanParser, bench
from humanparse.card import METADATA_KEY, ModelCard
from humanparse.cli import app, parse
from humanparse.engines import FakeEngine
from humanparse.errors import OptionError
from humanparse.labels import CIHP
from humanparse.preprocess import Preprocess

CARD = ModelCard("made-up", CIHP, "centres", Preprocess((0,) * 3, (1,) * 3, area_px=64 * 64), "MIT")


def nobody(pixels: np.ndarray) -> dict[str, np.ndarray]:
    height, width = pixels.shape[2] // 4, pixels.shape[3] // 4
    channels = {"classes": 20, "person": 1, "centre": 1, "offset": 2}
    return {
        name: np.full((1, count, height, width), -8, np.float32) for name, count in channels.items()
    }


@pytest.fixture
def parser(monkeypatch) -> HumanParser:
    made_up = HumanParser(engine=FakeEngine(nobody, {METADATA_KEY: CARD.to_json()}))
    monkeypatch.setattr(parse, "load_parser", lambda model, **options: made_up)
    monkeypatch.setattr(bench, "SIZES", {"tiny": (64, 48), "small": (100, 80)})
    monkeypatch.setattr(bench, "others_share", lambda: 0.02)
    return made_up


def test_a_size_is_measured_stage_by_stage(parser):
    times = bench.size_times(parser, "tiny", (64, 48), runs=2)
    assert (times.name, times.width, times.height, times.people) == ("tiny", 64, 48, 0)
    assert set(times.stages_ms) == set(bench.STAGES) and times.total_ms > 0
    assert len(parser.engine.seen) == 3  # once to warm up


def test_throughput_parses_as_many_photos_each_way(parser):
    rate = bench.throughput(parser, rounds=2, photos=3)
    assert len(parser.engine.seen) == 3 + 2 * (3 + 3)
    assert rate.one_by_one > 0 and rate.many > 0 and rate.ratio > 0


def test_engines_are_measured_and_what_cannot_be_had_says_why(parser):
    def open_parser(model, engine, precision):
        if engine == "onnxruntime" and precision == "bf16":
            raise OptionError("no bf16")
        return parser

    found = bench.engine_times(open_parser, None, runs=2)
    assert len(found) == len(bench.ENGINES) * len(bench.KINDS)
    assert found[-1] == bench.EngineTime("onnxruntime", "bf16", None, "no bf16")
    assert all(one.network_ms is not None and not one.why_not for one in found[:-1])
    assert {one.precision for one in bench.engine_times(open_parser, "other.onnx", runs=1)} == {
        "fp32",
        "bf16",
    }


def test_the_photo_has_the_size_that_was_asked_for():
    assert Image.open(io.BytesIO(bench.jpeg((64, 48)))).size == (64, 48)


def test_the_machine_is_described_in_one_line():
    line = bench.describe("a-package-that-nobody-has")
    assert "cores" in line and "numpy" in line and "\n" not in line and "nobody" not in line


def test_the_share_of_others_is_a_share():
    share = bench.others_share(0.05)
    assert share is None or 0 <= share <= 1


def test_a_table_is_for_readers_or_for_pages():
    rows = [["photo", "time"], ["640×480", "5 ms"]]
    assert bench.table(rows) == "photo    time\n640×480  5 ms"
    assert bench.table(rows, markdown=True) == "| photo | time |\n| --- | --- |\n| 640×480 | 5 ms |"


def test_the_command_prints_a_table(parser):
    result = CliRunner().invoke(app, ["bench"])
    assert result.exit_code == 0, result.output
    assert "used by other programs: 2%" in result.output
    assert (
        "tiny" in result.output and "small" in result.output and "with parse_many" in result.output
    )
    assert "openvino" in result.output and "int8" in result.output


def test_the_command_prints_json(parser):
    result = CliRunner().invoke(app, ["bench", "--json", "--engine", "openvino"])
    data = json.loads(result.output)
    assert (
        data["model"] == "made-up" and data["engine"] == "openvino" and data["others_share"] == 0.02
    )
    assert [one["name"] for one in data["sizes"]] == ["tiny", "small"] and data["photos_per_s"][
        "many"
    ] > 0
    assert {one["engine"] for one in data["engines"]} == set(bench.ENGINES)
