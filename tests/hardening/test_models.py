"""Damaged or foreign model files are never served, and a reload keeps the old model.

What `humanparse models pull` downloads is checked against its SHA-256; see tests/weights.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from served import serve
from waiting import until

from hardening.looking import ask, essence, get_json
from humanparse.card import METADATA_KEY
from humanparse.weights.catalog import model_file

STARTED_WITH = ("with external data",)  # starting with each would only take time


def damages(good: bytes, folder) -> Iterator[tuple[str, bytes]]:
    """What may be wrong with a model's file."""
    onnx = pytest.importorskip("onnx", reason="changes models with the package onnx")
    yield "truncated", good[: len(good) // 2]
    yield "empty", b""
    yield "that is a pickle", b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."

    other = onnx.load_from_string(good)
    for entry in other.metadata_props:
        if entry.key == METADATA_KEY:
            # with other classes than the network's
            entry.value = json.dumps(json.loads(entry.value) | {"labels": "mhp-v2"})
    yield "with other metadata", other.SerializeToString()

    model = onnx.load_from_string(good)
    tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    (folder.parent / "outside.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../outside.bin")
    yield "with external data", model.SerializeToString()


def test_a_reload_of_a_bad_file_keeps_the_old_model_and_a_start_with_it_is_refused(tmp_path, photo):
    folder = tmp_path / "models"
    folder.mkdir()
    model = folder / "model.onnx"
    good = model_file("humanparse-small").read_bytes()
    model.write_bytes(good)
    with serve(tmp_path, "--model", str(model), "--workers", "1", "--cache-mb", "0") as served:
        expected = essence(ask(served, body=photo)[2])
        for number, (name, damaged) in enumerate(damages(good, folder), 1):
            model.write_bytes(damaged)
            served.process.send_signal(signal.SIGHUP)
            until(lambda number=number: refusals(served) == number, f"news of a file {name}")
            assert get_json(served, "/readyz")["degraded"], name
            assert essence(ask(served, body=photo)[2]) == expected, name
            if name in STARTED_WITH:
                started = subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "humanparse",
                        "serve",
                        "--port",
                        "0",
                        "--model",
                        str(model),
                        "--workers",
                        "1",
                        "--data-dir",
                        str(tmp_path / "other"),
                    ],
                    capture_output=True,
                    text=True,
                    timeout=120,
                    cwd=tmp_path,
                )
                assert started.returncode == 3 and "Traceback" not in started.stderr, (
                    f"{name}: {started.stderr}"
                )
        model.write_bytes(good)
        served.process.send_signal(signal.SIGHUP)
        until(lambda: not get_json(served, "/readyz")["degraded"], "the good file")
        assert essence(ask(served, body=photo)[2]) == expected
    assert not (tmp_path / "pwned").exists()


def refusals(served) -> int:
    """How many reloads have kept the old model."""
    return served.log.read_text().count("the models cannot be reloaded")
