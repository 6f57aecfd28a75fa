"""How fast is the network alone: engines and precisions against PyTorch, and against what this machine could do?

    python benchmarks/network.py [--model small|m2fp] [--int8 FILE] [--reference DIR] [--size 640x480] [--rounds 5] [--markdown]

Every way runs in turn on the same input, again and again, so that they share what else happens on the machine; "ratio" is
the median over the rounds of the first way's time by the way's own. The first is the reference if there is one, else PyTorch.
"CPU" is processor time, which others disturb least, and "CPU ratio" is taken of it. The roofline is the network's
multiplications at the rate of a large matrix product (PyTorch, fp32, measured in the same rounds); "of roofline" is what a
way reaches of that rate.

m2fp is M2FP-R101 with random weights. DIR holds a `reference.py` whose `build(seed)` returns ModelScope's M2FP; it is run
by --reference-python, a Python that has what it needs. FILE is the int8 model that `humanparse convert` made; the first run
of m2fp keeps its fp32 file in --keep, so that one can be made of it.
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
import torch

from humanparse.convert.export import export
from humanparse.convert.onnx import MULTI_PERSON, OUTPUTS, SHARE, TOLERANCE
from humanparse.engines import ENGINES, open_engine
from humanparse.errors import MissingExtra, OptionError
from humanparse.labels import CIHP
from humanparse.model.centre_parser import centre_parser
from humanparse.model.m2fp import m2fp_r101
from humanparse.weights.catalog import ModelCard, model_file

SIZES = {"small": "640x480", "m2fp": "864x640"}
PEAK_N = 1536  # side of the matrices of the roofline
Way = Callable[[], float]  # one run; returns its processor seconds

SERVE = """
import sys, time
sys.path.insert(0, sys.argv[1])
import reference, torch
net = reference.build(seed=0)
height, width = int(sys.argv[2]), int(sys.argv[3])
x = {"batched_inputs": [{"image": torch.rand(3, height, width) * 255, "height": height, "width": width}]}
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
        fp32 = model_file(None) if options.model == "small" else m2fp_file(network, options.keep or Path(folder))
        ways = ways_to_run(network, pixels, {"fp32": fp32, "int8": options.int8})
        if options.reference:
            ways = {"reference": Reference(options, height, width), **ways}
        rows = measure(ways, options.rounds, flops)
    print(machine.table(rows, options.markdown))


def measure(ways: dict[str, Way], rounds: int, flops: float) -> list[list[str]]:
    """Every way `rounds` times in turn, and once before, as the rows of a table."""
    a = torch.randn(PEAK_N, PEAK_N)
    ways = {**ways, "large matrix product": _timed(lambda: a @ a)}
    for work in ways.values():
        work()
    wall, cpu = ({name: [] for name in ways} for _ in range(2))
    for _ in range(rounds):
        for name, work in ways.items():
            start = time.perf_counter()
            cpu[name].append(work())
            wall[name].append(time.perf_counter() - start)
    peak = [2 * PEAK_N**3 / seconds for seconds in cpu.pop("large matrix product")]  # operations a processor second
    del wall["large matrix product"]
    base = next(iter(wall))
    rows = [["network", "median", "CPU", "ratio", "CPU ratio", "of roofline"]]
    for name in wall:
        reached = flops / (statistics.median(cpu[name]) * statistics.median(peak))
        rows.append([
            name, f"{statistics.median(wall[name]) * 1000:.0f} ms", f"{statistics.median(cpu[name]) * 1000:.0f} ms",
            f"{_ratio(wall[base], wall[name]):.2f}", f"{_ratio(cpu[base], cpu[name]):.2f}", f"{reached:.0%}",
        ])
    return rows


def ways_to_run(network: torch.nn.Module, pixels: torch.Tensor, files: dict[str, Path | None]) -> dict[str, Way]:
    """PyTorch, and each engine in each precision that can be had here."""
    def eager() -> None:
        with torch.inference_mode():
            network(pixels)

    ways, array = {"PyTorch": _timed(eager)}, pixels.numpy()
    for name in ENGINES:
        for kind, precision in (("fp32", "fp32"), ("fp32", "bf16"), ("int8", "fp32")):
            if files[kind] is None:
                continue
            try:
                engine = open_engine(name, files[kind], precision=precision)
            except (MissingExtra, OptionError) as error:
                print(f"left out: {name} {precision}: {error}")
                continue
            ways[f"{name}, {kind if kind == 'int8' else precision}"] = _timed(lambda engine=engine: engine.run(array))
    return ways


class Reference:
    """ModelScope's network in a process of its own."""

    def __init__(self, options: argparse.Namespace, height: int, width: int):
        command = [str(options.reference_python), "-c", SERVE, str(options.reference), str(height), str(width)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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
    """The network as an .onnx file in the folder, made if it is not there."""
    file = folder / "m2fp-r101-random.onnx"
    if not file.exists():
        card = ModelCard("m2fp-r101-random", CIHP, "queries", MULTI_PERSON, "none: random weights")
        export(network, file, card, OUTPUTS, check_sizes_hw=((192, 224),), tolerance=TOLERANCE, share=SHARE)
    return file


def multiplications(network: torch.nn.Module, pixels: torch.Tensor) -> float:
    """Of convolutions and matrix products in one run."""
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(SIZES), default="small")
    parser.add_argument("--int8", type=Path, help="the same model in int8")
    parser.add_argument("--reference", type=Path, help="the folder with reference.py (with --model m2fp)")
    parser.add_argument("--reference-python", type=Path, default=Path(sys.executable), help="the Python that runs it")
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
