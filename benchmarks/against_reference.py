"""From a photo's bytes to the result: ModelScope's own M2FP against ours, on the same weights.

    python benchmarks/against_reference.py --reference DIR --reference-python PYTHON
        [--rounds 5] [--keep FOLDER] [--size 640x480] [--threads 2] [--photos FOLDER]
        [--only fp32,bf16,...] [--markdown]

DIR holds a `reference.py` whose `build(seed)` returns ModelScope's M2FP-R101 with the CIHP
settings; PYTHON runs it. Its random weights go through `convert_checkpoint` as official ones would,
and through `quantise` with the photos of FOLDER (default: those of the package). --keep keeps the
files for the next run.

Each way runs in a process of its own; they take turns with the same JPEG, several times, and only
one of them works at any moment. "ratio" is the median over the rounds of the reference's time
divided by the way's own; "CPU" is processor time, which other programs disturb least; "memory" is
the peak of the whole process, including PyTorch or the engine, and the weights; "found" counts
instances for the reference, and for ours people and their parts, which are joined where one person
has several of a class.

With random weights no score passes a threshold. So the same scene of people and parts is added to
the raw outputs on both sides, between network and post-processing; its cost is in both times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
import numpy as np

from humanparse.bench import PHOTO
from humanparse.system.packaged import packaged

SCENE_SEED, PEOPLE, INSTANCES, QUERIES, CLASSES, HUMAN, MASK_GAIN = 0, 5, 45, 100, 22, 20, 10
WAYS = {  # name: engine, precision, file
    "onnxruntime, fp32": ("onnxruntime", "fp32", "fp32"),
    "openvino, fp32": ("openvino", "fp32", "fp32"),
    "openvino, bf16": ("openvino", "bf16", "fp32"),
    "openvino, int8": ("openvino", "fp32", "int8"),
    "openvino, int8 and bf16": ("openvino", "bf16", "int8"),
}

# What the reference's pipeline does (pipelines/cv/image_human_parsing_pipeline.py), without its
# registry.
REFERENCE = """
import io, json, resource, sys, time
folder, checkpoint, photo, scene, threads = sys.argv[1:]
sys.path.insert(0, folder)
import numpy as np, reference, torch
from PIL import Image
torch.set_num_threads(int(threads))
net = reference.build(seed=0)
if scene == "save":
    torch.save({"model": net.state_dict()}, checkpoint)
    configuration = checkpoint.replace("pytorch_model.pt", "configuration.json")
    json.dump({"model": {"classes": reference.CLASSES}}, open(configuration, "w"))
    raise SystemExit
data = open(photo, "rb").read()
scene = {name: torch.from_numpy(value) for name, value in np.load(scene).items()}
def parse():
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    scale = min(640 / min(width, height), 1333 / max(width, height))
    size = int(width * scale + 0.5), int(height * scale + 0.5)
    image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255) * 255.0
    with torch.no_grad():
        start = time.perf_counter()
        raw = net.forward({"batched_inputs": [{"image": pixels, "height": height, "width": width}]})
        network = time.perf_counter() - start
        outputs = raw["outputs"]
        outputs["pred_logits"] = outputs["pred_logits"] + scene["logits"]
        outputs["pred_masks"] = outputs["pred_masks"] * scene["gain"] + scene["masks"]
        found = net.postprocess(raw)["eval_result"][0]["parsing"]
        found = found["part_outputs"] + found["human_outputs"]
        masks = [(one["mask"] > 0).float().numpy() for one in found]
    return network, len(masks)
"""

OURS = """
import json, resource, sys, time
engine, precision, model, photo, scene, threads = sys.argv[1:]
import numpy as np
from humanparse import HumanParser
data, scene = open(photo, "rb").read(), dict(np.load(scene))
parser = HumanParser(model, engine=engine, precision=precision, threads=int(threads), min_score=0.1)
run = parser.engine.run
def staged(pixels):
    outputs = run(pixels)
    masks = outputs["pred_masks"] * scene["gain"] + scene["masks"]
    return {"pred_logits": outputs["pred_logits"] + scene["logits"], "pred_masks": masks}
parser.engine.run = staged
def parse():
    parsing = parser.parse(data)
    parts = sum(len(person.parts) for person in parsing.people)
    return parsing.timings_ms["network"] / 1000, len(parsing.people) + parts
"""

LOOP = """
def peak_mb():
    try:  # begins with this program, unlike ru_maxrss, which the parent's memory is in
        return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1000
    except (OSError, IndexError):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
parse()
print("ready", flush=True)
for _ in sys.stdin:
    start, cpu = time.perf_counter(), time.process_time()
    network, found = parse()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    print("took", json.dumps([wall, cpu, network, peak_mb(), found]), flush=True)
"""


def main() -> None:
    options = _options()
    print(machine.describe("openvino", "torch"))
    print(f"other processes: {machine.others_share():.0%} of the cores")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        files = model_files(options, folder)
        photo, scene = folder / "photo.jpg", folder / "scene.npz"
        size = tuple(int(side) for side in options.size.split("x"))
        photo.write_bytes(machine.jpeg(size))
        cells = write_scene(scene, size)
        print(
            f"photo of {options.size}, network input {cells[1] * 4}×{cells[0] * 4}, "
            f"{options.threads} threads\n"
        )
        common = [str(photo), str(scene), str(options.threads)]
        command = [
            str(options.reference_python),
            "-c",
            REFERENCE + LOOP,
            str(options.reference),
            "",
            *common,
        ]
        ways = {"reference": Way(command)}
        for name, (engine, precision, kind) in WAYS.items():
            if not options.only or name.split(", ")[1] in options.only:
                ways[name] = Way(
                    [
                        sys.executable,
                        "-c",
                        OURS + LOOP,
                        engine,
                        precision,
                        str(files[kind]),
                        *common,
                    ]
                )
        rows = measure(ways, options.rounds)
    print(machine.table(rows, options.markdown))


def measure(ways: dict[str, Way], rounds: int) -> list[list[str]]:
    """Run every way in turn, `rounds` times, and return the rows of a table.

    A way that cannot run here is named and left out.
    """
    for name in [name for name, way in ways.items() if not way.ready()]:
        print(f"left out: {name}: {ways.pop(name).why()}")
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(way())
    for way in ways.values():
        way.end()
    rows = [["way", "bytes → result", "CPU", "network", "ratio", "CPU ratio", "memory", "found"]]
    base = np.array(times["reference"])
    for name, taken in times.items():
        taken = np.array(taken)
        wall, cpu, network, peak, found = np.median(taken, 0)
        ratios = [statistics.median(base[:, column] / taken[:, column]) for column in (0, 1)]
        rows.append(
            [
                name,
                f"{wall * 1000:.0f} ms",
                f"{cpu * 1000:.0f} ms",
                f"{network * 1000:.0f} ms",
                *(f"{one:.2f}" for one in ratios),
                f"{peak:.0f} MB",
                f"{found:.0f}",
            ]
        )
    return rows


class Way:
    """A parser in a process of its own, which parses the photo once for each call."""

    def __init__(self, command: list[str]):
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=quiet,
        )

    def ready(self) -> bool:
        return self._line("ready") is not None

    def __call__(self) -> list[float]:
        """Return seconds, processor seconds, the network's seconds, peak MB, and findings."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        line = self._line("took")
        if line is None:
            raise SystemExit(f"a way ended: {self.why()}")
        return json.loads(line)

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def why(self) -> str:
        """Return the last line of its error output."""
        self._process.wait()
        self._errors.seek(0)
        return (self._errors.read().strip().splitlines() or ["it said nothing"])[-1]

    def _line(self, word: str) -> str | None:
        for line in self._process.stdout:  # the reference prints lines of its own
            if line.startswith(word):
                return line.removeprefix(word)
        return None


def model_files(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Return the reference's weights as our files, fp32 and int8; make those that are missing."""
    from humanparse.export.m2fp import convert_checkpoint
    from humanparse.export.quantise import quantise

    checkpoint, files = (
        folder / "pytorch_model.pt",
        {kind: folder / f"m2fp.{kind}.onnx" for kind in ("fp32", "int8")},
    )
    if not files["fp32"].exists():
        command = [
            str(options.reference_python),
            "-c",
            REFERENCE,
            str(options.reference),
            str(checkpoint),
            "",
            "save",
            "2",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        convert_checkpoint(checkpoint, files["fp32"])
    if not files["int8"].exists() and (
        not options.only or any("int8" in one for one in options.only)
    ):
        quantise(files["fp32"], files["int8"], options.photos)
    return files


def write_scene(file: Path, size: tuple[int, int]) -> tuple[int, int]:
    """Write the scene that is added to the raw outputs for a photo: ellipses as people and parts.

    Returns the height and width of the masks.
    """
    from humanparse.export.m2fp import MULTI_PERSON

    cells = tuple(side // 4 for side in MULTI_PERSON.geometry(size[::-1]).input_hw)
    rng = np.random.default_rng(SCENE_SEED)
    rows, columns = (np.linspace(0, 1, side, dtype=np.float32) for side in cells)
    logits, masks = (
        np.zeros((1, QUERIES, CLASSES), np.float32),
        np.full((1, QUERIES, *cells), -6, np.float32),
    )
    logits[0, :, -1] = 8
    for query in range(INSTANCES):
        person = query < PEOPLE
        logits[0, query, HUMAN if person else rng.integers(1, HUMAN)] += rng.uniform(9, 14)
        y, x, tall, wide = (
            *rng.uniform(0.1, 0.9, 2),
            *rng.uniform(0.04, 0.15, 2) * (3 if person else 1),
        )
        masks[0, query] = 6 - 6 * np.hypot((rows[:, None] - y) / tall, (columns - x) / wide)
    np.savez(file, logits=logits, masks=masks, gain=np.float32(MASK_GAIN))
    return cells


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--reference", type=Path, required=True, help="the folder with reference.py"
    )
    parser.add_argument(
        "--reference-python",
        type=Path,
        default=Path(sys.executable),
        help="the Python that runs it",
    )
    parser.add_argument(
        "--keep", type=Path, help="folder that keeps the checkpoint and the models made from it"
    )
    parser.add_argument(
        "--photos",
        type=Path,
        default=packaged(PHOTO).parent,
        help="folder of photos to calibrate int8 with",
    )
    parser.add_argument("--size", default="640x480", help="of the photo, as WIDTHxHEIGHT")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), help="of fp32, bf16, int8, 'int8 and bf16'"
    )
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
