"""How quick is the embedded model's network beside a person detector's and a clothes parser's?

    python benchmarks/against_peers.py [--peers FOLDER] [--peers-python PYTHON]
        [--size 640x480] [--threads 2] [--rounds 15] [--markdown]

The peers are YOLO26n-seg and YOLO11n-seg, which find people and no parts, and SegFormer-B2, which
finds parts and no people. Each is built with random weights, which take as long as trained ones,
and exported to ONNX. Then all networks run in the same engine, ONNX Runtime, with the same options
on the same random input, in turn in one run. "Of YOLO26n-seg" is the median over the rounds of a
network's time divided by that of YOLO26n-seg in the same round; "CPU" is processor time, which
other programs disturb least. SegFormer-B2 is also run at 512×512, as parsers of clothes use it.

The peers' libraries stay in an environment of their own: Ultralytics' is under the AGPL, and this
program never imports it. FOLDER (build/peers) keeps that environment, which is made if it is
missing, and the exported files. On Linux it takes gigabytes, as PyTorch brings its GPU libraries.
With --peers-python a Python of yours that has `ultralytics`, `transformers`, `onnx`, `onnxslim` and
`onnxscript` exports them instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
import venv
from pathlib import Path

import machine
import numpy as np

from humanparse.engines import Engine, open_engine
from humanparse.weights.catalog import model_file

PACKAGES = ("ultralytics>=8.4", "transformers>=5", "onnx>=1.21", "onnxslim", "onnxscript")
BASE = "YOLO26n-seg"
PARSERS_SIDE = "512x512"  # at which parsers of clothes use SegFormer-B2

YOLO = """
import os, sys
from pathlib import Path
from ultralytics import YOLO
name, file, width, height = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
os.chdir(file.parent)  # it writes beside where it runs
made = YOLO(f"{name}.yaml").export(format="onnx", imgsz=(height, width), device="cpu")
Path(made).replace(file)
"""

SEGFORMER = """
import sys
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation
file, width, height = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.manual_seed(0)
b2 = SegformerConfig(
    depths=[3, 4, 6, 3], hidden_sizes=[64, 128, 320, 512], decoder_hidden_size=768, num_labels=18
)

class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = SegformerForSemanticSegmentation(b2)

    def forward(self, pixels):
        return self.network(pixel_values=pixels).logits

pixels = torch.zeros(1, 3, height, width)
torch.onnx.export(
    Logits().eval(), (pixels,), file, input_names=["pixels"], output_names=["logits"],
    dynamo=True, external_data=False,
)
"""


def main() -> None:
    options = _options()
    print(machine.describe("openvino"))
    ours = {
        "humanparse-small": (model_file(None), options.size),
        "humanparse-int8": (model_file("humanparse-int8"), options.size),
    }
    peers = peers_files(options)
    runs = {name: Run(*one, options.threads) for name, one in {**ours, **peers}.items()}
    print(
        f"other processes: {machine.others_share():.0%} of the cores; "
        f"{options.threads} threads, {options.rounds} rounds in turn\n"
    )
    print(machine.table(measure(runs, options.rounds), options.markdown))


class Run:
    """One network in ONNX Runtime, with a random input of a size such as "640x480"."""

    def __init__(self, file: Path, size: str, threads: int):
        width, height = (int(side) for side in size.split("x"))
        self.size = f"{width}×{height}"
        self._engine: Engine = open_engine("onnxruntime", file, threads)
        self._pixels = np.random.default_rng(0).random((1, 3, height, width), np.float32)

    def __call__(self) -> tuple[float, float]:
        """Return seconds and processor seconds of one run."""
        start, started = time.perf_counter(), time.process_time()
        self._engine.run(self._pixels)
        return time.perf_counter() - start, time.process_time() - started


def measure(runs: dict[str, Run], rounds: int) -> list[list[str]]:
    """Run every network twice, then `rounds` times in turn, and return the rows of a table."""
    for run in [*runs.values()] * 2:
        run()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(run())
    rows = [["network", "input", "median", "least", "CPU", f"of {BASE}", "of its CPU"]]
    for name, times in taken.items():
        wall, cpu = zip(*times, strict=True)
        ratios = [
            statistics.median(
                own[kind] / base[kind] for own, base in zip(times, taken[BASE], strict=True)
            )
            for kind in (0, 1)
        ]
        milliseconds = (statistics.median(wall), min(wall), statistics.median(cpu))
        rows.append(
            [
                name,
                runs[name].size,
                *(f"{value * 1000:.0f} ms" for value in milliseconds),
                *(f"{ratio:.2f}" for ratio in ratios),
            ]
        )
    return rows


def peers_files(options: argparse.Namespace) -> dict[str, tuple[Path, str]]:
    """Return the peers' exported networks and the sizes of their input; make what is missing."""
    wanted = {
        BASE: (YOLO, "yolo26n-seg", options.size),
        "YOLO11n-seg": (YOLO, "yolo11n-seg", options.size),
        "SegFormer-B2": (SEGFORMER, "segformer-b2", options.size),
    }
    if options.size != PARSERS_SIDE:
        wanted["SegFormer-B2, smaller"] = (SEGFORMER, "segformer-b2", PARSERS_SIDE)
    folder = options.peers.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for title, (code, name, size) in wanted.items():
        file = folder / f"{name}-{size}.onnx"
        if not file.exists():
            python = options.peers_python or _environment(folder / "venv")
            _export(python, code, name, file, size)
        files[title] = file, size
    return files


def _environment(folder: Path) -> Path:
    """Return the Python of the peers' environment, which is made if it is missing."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "installed"
    if not done.exists():
        print(f"making an environment for the peers in {folder}; this takes minutes", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        done.touch()
    return python


def _export(python: Path, code: str, name: str, file: Path, size: str) -> None:
    """Let the peers' Python write a network as `file`, which appears whole or not at all."""
    print(f"exporting {file.name}", flush=True)
    half = file.with_suffix(".half.onnx")
    # The environment has all that is needed: nothing is installed in the middle of an export.
    settings = {**os.environ, "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
    done = subprocess.run(
        [python, "-c", code, name, half, *size.split("x")],
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not half.exists():
        raise SystemExit(f"{name} could not be exported:\n{done.stdout}{done.stderr}")
    half.replace(file)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers",
        type=Path,
        default=Path("build/peers"),
        help="folder that keeps the peers' environment and files",
    )
    parser.add_argument("--peers-python", type=Path, help="a Python that has the peers' libraries")
    parser.add_argument("--size", default="640x480", help="of the input, as WIDTHxHEIGHT")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
