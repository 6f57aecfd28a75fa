"""How fast is the network alone? Engines and precisions, against PyTorch and against the machine.

    python benchmarks/network.py [--model small|m2fp] [--int8 FILE] [--reference DIR]
        [--size 640x480] [--rounds 5] [--markdown]

The ways take turns with the same input, several times, so that all of them share whatever else
happens on the machine; "ratio" is the median over the rounds of the first way's time divided by the
way's own. The first is the reference if there is one, else PyTorch. "CPU" is processor time, which
other programs disturb least, and "CPU ratio" is that of processor times. The roofline is the
network's multiplications at the rate of large 3×3 convolutions (OpenVINO, in each precision,
measured in the same rounds): "over roofline" is a way's processor time divided by that; 1 is the
best possible. For int8, whose files keep some layers in float, it is strict.

m2fp is M2FP-R101 with random weights. DIR holds a `reference.py` whose `build(seed)` returns
ModelScope's M2FP; it is run by --reference-python, a Python that has what it needs. FILE is the
int8 model that `humanparse convert` made; the first run of m2fp keeps its fp32 file in --keep, from
which the int8 model can be made.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
import torch

from humanparse.card import ModelCard
from humanparse.engines import open_engine
from humanparse.errors import MissingExtra, OptionError
from humanparse.export.m2fp import MULTI_PERSON, OUTPUTS, SHARE, TOLERANCE
from humanparse.export.onnx import write_onnx
from humanparse.labels import CIHP
from humanparse.model.centre_parser import centre_parser
from humanparse.model.m2fp import m2fp_r101
from humanparse.vocabulary import ENGINES
from humanparse.weights.catalog import model_file

SIZES = {"small": "640x480", "m2fp": "864x640"}
PEAK_DIM, PEAK_HW, PEAK_LAYERS = 256, (80, 108), 4  # of the convolutions of the roofline
Way = Callable[[], float]  # runs once and returns the processor seconds

SERVE = """
import sys, time
sys.path.insert(0, sys.argv[1])
import reference, torch
net = reference.build(seed=0)
height, width = int(sys.argv[2]), int(sys.argv[3])
image = torch.rand(3, height, width) * 255
x = {"batched_inputs": [{"image": image, "height": height, "width": width}]}
print("ready", flush=True)
with torch.no_grad():
    for _ in sys.stdin:
        start = time.process_time()
        net.forward(x)
        print("took", time.process_time() - start, flush=True)
"""


def main() -> None:
    options = _options()
    width, height = (int(side) for side in (options.size or SIZES[options.model]).split("x"))
    print(machine.describe("torch"))
    print(f"other processes: {machine.others_share():.0%} of the cores")
    torch.manual_seed(0)
    network = (centre_parser() if options.model == "small" else m2fp_r101()).eval()
    pixels = torch.randn(1, 3, height, width)
    flops = 2 * multiplications(network, pixels)
    print(f"{options.model} at {width}×{height}: {flops / 2e9:.1f} billion multiplications\n")
    with tempfile.TemporaryDirectory() as folder:
        fp32 = (
            model_file(None)
            if options.model == "small"
            else m2fp_file(network, options.keep or Path(folder))
        )
        ways = ways_to_run(network, pixels, {"fp32": fp32, "int8": options.int8})
        if options.reference:
            ways = {"reference": Reference(options, height, width), **ways}
        rows = measure(ways, options.rounds, flops)
    print(machine.table(rows, options.markdown))


def measure(ways: dict[str, Way], rounds: int, flops: float) -> list[list[str]]:
    """Run every way once, then `rounds` times in turn, and return the rows of a table."""
    peaks = {f"peak {kind}": peak_way(kind) for kind in ("fp32", "bf16", "int8")}
    ways = {**ways, **{name: way for name, way in peaks.items() if way}}
    for work in ways.values():
        work()
    wall, cpu = ({name: [] for name in ways} for _ in range(2))
    for _ in range(rounds):
        for name, work in ways.items():
            start = time.perf_counter()
            cpu[name].append(work())
            wall[name].append(time.perf_counter() - start)
    operations = 2 * PEAK_DIM**2 * 9 * PEAK_HW[0] * PEAK_HW[1] * PEAK_LAYERS
    # Operations per processor second.
    rate = {name.split()[1]: operations / min(cpu[name]) for name in peaks if name in cpu}
    for kind, value in rate.items():
        print(f"roofline {kind}: {value / 1e9:.0f} billion operations a second and core")
    wall = {name: times for name, times in wall.items() if name not in peaks}
    base = next(iter(wall))
    rows = [["network", "median", "CPU", "ratio", "CPU ratio", "over roofline"]]
    for name in wall:
        kind = next((kind for kind in ("int8", "bf16") if kind in name), "fp32")
        over = f"{statistics.median(cpu[name]) * rate[kind] / flops:.2f}" if kind in rate else ""
        rows.append(
            [
                name,
                f"{statistics.median(wall[name]) * 1000:.0f} ms",
                f"{statistics.median(cpu[name]) * 1000:.0f} ms",
                f"{_ratio(wall[base], wall[name]):.2f}",
                f"{_ratio(cpu[base], cpu[name]):.2f}",
                over,
            ]
        )
    return rows


def ways_to_run(
    network: torch.nn.Module, pixels: torch.Tensor, files: dict[str, Path | None]
) -> dict[str, Way]:
    """Return PyTorch, and each engine in each precision that is available here."""

    def eager() -> None:
        with torch.inference_mode():
            network(pixels)

    ways, array = {"PyTorch": _timed(eager)}, pixels.numpy()
    for name in ENGINES:
        for kind, precision in (
            ("fp32", "fp32"),
            ("fp32", "bf16"),
            ("int8", "fp32"),
            ("int8", "bf16"),
        ):
            if files[kind] is None:
                continue
            try:
                engine = open_engine(name, files[kind], precision=precision)
            except (MissingExtra, OptionError) as error:
                print(f"left out: {name} {precision}: {error}")
                continue
            said = (
                precision
                if kind == "fp32"
                else kind
                if precision == "fp32"
                else f"{kind} and {precision}"
            )
            ways[f"{name}, {said}"] = _timed(lambda engine=engine: engine.run(array))
    return ways


def peak_way(kind: str) -> Way | None:
    """Return a chain of large convolutions in that precision; None if it is not available."""
    try:
        import openvino
        from openvino import opset13 as ops

        from humanparse.engines.openvino import core
    except ImportError:
        return None
    if kind == "bf16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    rng = np.random.default_rng(0)
    x = y = ops.parameter([1, PEAK_DIM, *PEAK_HW], np.float32)
    for _ in range(PEAK_LAYERS):
        weight = rng.normal(scale=0.02, size=(PEAK_DIM, PEAK_DIM, 3, 3)).astype(np.float32)
        if kind == "int8":
            y = ops.fake_quantize(y, *(np.float32(value) for value in (0, 4, 0, 4)), 256)
            eight = ops.constant(np.clip(np.rint(weight * 1000), -127, 127).astype(np.int8))
            weight = ops.multiply(ops.convert(eight, "f32"), np.float32(0.001))
        y = ops.relu(ops.convolution(y, weight, [1, 1], [1, 1], [1, 1], [1, 1]))
    top = ops.reduce_max(y, np.array([1, 2, 3]), True)
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if kind == "bf16" else "f32",
    }
    compiled = core().compile_model(openvino.Model([top], [x]), "CPU", hints)
    pixels = rng.normal(size=(1, PEAK_DIM, *PEAK_HW)).astype(np.float32)
    return _timed(lambda: compiled.create_infer_request().infer([pixels]))


class Reference:
    """ModelScope's network in a process of its own."""

    def __init__(self, options: argparse.Namespace, height: int, width: int):
        command = [
            str(options.reference_python),
            "-c",
            SERVE,
            str(options.reference),
            str(height),
            str(width),
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._wait_for("ready")

    def __call__(self) -> float:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self._wait_for("took"))

    def _wait_for(self, word: str) -> str:
        for line in self.process.stdout:  # it may print lines of its own
            if line.startswith(word):
                return line.removeprefix(word)
        raise SystemExit("the reference ended; run it by itself to see why")


def m2fp_file(network: torch.nn.Module, folder: Path) -> Path:
    """Return the network as an .onnx file in the folder; make it if it is missing."""
    file = folder / "m2fp-r101-random.onnx"
    if not file.exists():
        card = ModelCard("m2fp-r101-random", CIHP, "queries", MULTI_PERSON, "none: random weights")
        write_onnx(
            network,
            file,
            card,
            OUTPUTS,
            check_sizes_hw=((192, 224),),
            tolerance=TOLERANCE,
            share=SHARE,
        )
    return file


def multiplications(network: torch.nn.Module, pixels: torch.Tensor) -> float:
    """Return the multiplications of convolutions and matrix products in one run."""
    from torch.utils.flop_counter import FlopCounterMode

    network.requires_grad_(False)  # the counter does not work in inference mode
    with FlopCounterMode(display=False) as counter:
        network(pixels)
    return counter.get_total_flops() / 2


def _timed(work: Callable[[], object]) -> Way:
    def run() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return run


def _ratio(base: list[float], own: list[float]) -> float:
    return statistics.median(theirs / mine for theirs, mine in zip(base, own, strict=True))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=tuple(SIZES), default="small")
    parser.add_argument("--int8", type=Path, help="the same model in int8")
    parser.add_argument(
        "--reference", type=Path, help="the folder with reference.py (with --model m2fp)"
    )
    parser.add_argument(
        "--reference-python",
        type=Path,
        default=Path(sys.executable),
        help="the Python that runs it",
    )
    parser.add_argument("--keep", type=Path, help="folder that keeps the fp32 file of m2fp")
    parser.add_argument("--size", help="of the network's input, as WIDTHxHEIGHT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    if options.reference and options.model != "m2fp":
        parser.error("--reference is M2FP; compare it with --model m2fp")
    return options


if __name__ == "__main__":
    main()
