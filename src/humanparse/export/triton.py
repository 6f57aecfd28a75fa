"""A model repository for Triton Inference Server: photo in, maps and JSON out.

    NAME              ensemble: image → labels, people, result
    NAME-preprocess   Python: the photo's bytes → the network's input
    NAME-network      ONNX Runtime: the model file, several photos of one size at a time
    NAME-postprocess  Python: the network's outputs → people

The tensors are called as those of the service's /v2 (service/api/v2.py), so that one client fits
both. The two Python models are the files of `triton_models/`, copied; they need humanparse in
Triton's Python.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from humanparse.card import ModelCard
from humanparse.errors import OptionError
from humanparse.export.graph import (
    INPUT,
    Written,
    load,
    open_batch,
    takes_batches,
    the_onnx_package,
)
from humanparse.system.packaged import packaged

MAX_BATCH = 8  # photos in one run of the network
MAX_DELAY_US = 2000  # that the first of them waits for others
INSTANCES = 2  # of each Python model: while one decodes a photo, another can
WARM_HW = (480, 640)  # of the photo whose size the network is warmed up with
# empty folders get lost on the way
EMPTY = "Triton wants this folder, though an ensemble has no file of its own.\n"


def write_triton(model: Path, folder: Path) -> Written:
    """Write the four models into `folder`, a repository that may hold others. Raises OptionError if
    they are there already."""
    network, card = load(model)
    onnx = the_onnx_package()
    name = re.sub(r"[^A-Za-z0-9._-]", "-", card.name)
    made_names = [name, *(f"{name}-{part}" for part in ("preprocess", "network", "postprocess"))]
    for one in made_names:
        if (folder / one).exists():
            raise OptionError(f"{folder / one} is there already; remove it, or give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as work:
        made = Path(work)
        opened = onnx.ModelProto()
        opened.CopyFrom(network)
        open_batch(opened)
        batches = takes_batches(opened, made)
        (made / "batch.onnx").unlink(missing_ok=True)
        outputs = _outputs(network)
        _write(made / name, _ensemble(name, outputs))
        (made / name / "1").mkdir()
        (made / name / "1/README").write_text(EMPTY, "utf-8")
        _write_python(made / f"{name}-preprocess", card, _preprocess(name), "preprocess.py")
        _write_python(
            made / f"{name}-postprocess", card, _postprocess(name, outputs), "postprocess.py"
        )
        _write(made / f"{name}-network", _network(name, outputs, card, batches))
        (made / f"{name}-network/1").mkdir()
        onnx.save(opened if batches else network, made / f"{name}-network/1/model.onnx")
        for one in reversed(made_names):  # the ensemble last: it names the others
            os.replace(made / one, folder / one)
    notes = (
        ()
        if batches
        else ("the network takes one photo at a time: its graph holds a batch of one",)
    )
    return Written(
        tuple(
            file
            for one in made_names
            for file in sorted((folder / one).rglob("*"))
            if file.is_file()
        ),
        (),
        notes,
    )


def _outputs(network) -> list[tuple[str, list[int]]]:
    """Name and sizes of each output, -1 for those that follow the photo; the batch included."""
    found = []
    for output in network.graph.output:
        sizes = output.type.tensor_type.shape.dim
        found.append((output.name, [1, *(axis.dim_value or -1 for axis in sizes[1:])]))
    return found


def _write(folder: Path, config: str) -> None:
    folder.mkdir(mode=0o755)
    (folder / "config.pbtxt").write_text(config, "utf-8")


def _write_python(folder: Path, card: ModelCard, config: str, source: str) -> None:
    _write(folder, config)
    version = folder / "1"
    version.mkdir()
    shutil.copyfile(packaged("export/triton_models") / source, version / "model.py")
    (version / "card.json").write_text(card.to_json(), "utf-8")


# config.pbtxt

IMAGE, LABELS, PEOPLE, RESULT = (
    ("image", "TYPE_STRING", [1]),
    ("labels", "TYPE_UINT8", [1, -1, -1]),
    ("people", "TYPE_UINT16", [1, -1, -1]),
    ("result", "TYPE_STRING", [1]),
)
PIXELS, PHOTO_HW = (INPUT, "TYPE_FP32", [1, 3, -1, -1]), ("photo_hw", "TYPE_INT32", [2])
LATEST = "version_policy { latest { num_versions: 1 } }\n"


def _tensors(kind: str, *tensors: tuple[str, str, list[int]]) -> str:
    return "".join(
        f'{kind} {{ name: "{name}" data_type: {data} dims: {dims} }}\n'
        for name, data, dims in tensors
    )


def _instances(count: int, kind: str) -> str:
    return f"instance_group {{ count: {count} kind: {kind} }}\n"


def _floats(outputs: list[tuple[str, list[int]]]) -> list[tuple[str, str, list[int]]]:
    return [(name, "TYPE_FP32", dims) for name, dims in outputs]


def _preprocess(name: str) -> str:
    return (
        f'name: "{name}-preprocess"\nbackend: "python"\nmax_batch_size: 0\n'
        + _tensors("input", IMAGE)
        + _tensors("output", PIXELS, PHOTO_HW)
        + _instances(INSTANCES, "KIND_CPU")
        + LATEST
    )


def _postprocess(name: str, outputs: list[tuple[str, list[int]]]) -> str:
    return (
        f'name: "{name}-postprocess"\nbackend: "python"\nmax_batch_size: 0\n'
        + _tensors("input", PHOTO_HW, *_floats(outputs))
        + _tensors("output", LABELS, PEOPLE, RESULT)
        + _instances(INSTANCES, "KIND_CPU")
        + LATEST
    )


def _network(
    name: str, outputs: list[tuple[str, list[int]]], card: ModelCard, batches: bool
) -> str:
    skip = 1 if batches else 0  # where Triton counts the batch, it is not among the sizes
    tensors = [(one, data, dims[skip:]) for one, data, dims in (PIXELS, *_floats(outputs))]
    warm = [*([] if batches else [1]), 3, *card.preprocess.geometry(WARM_HW).input_hw]
    batching = (
        (
            "# Photos whose input has one size run together; on a CPU that gains nothing.\n"
            f"dynamic_batching {{ max_queue_delay_microseconds: {MAX_DELAY_US} }}\n"
        )
        if batches
        else ""
    )
    return (
        f'name: "{name}-network"\nbackend: "onnxruntime"\nmax_batch_size: {MAX_BATCH if batches else 0}\n'
        + _tensors("input", tensors[0])
        + _tensors("output", *tensors[1:])
        + batching
        + "# A GPU where there is one.\n"
        + _instances(1, "KIND_AUTO")
        + LATEST
        + f'model_warmup {{ name: "a photo of {WARM_HW[1]}x{WARM_HW[0]}" batch_size: {1 if batches else 0}\n'
        + f'  inputs {{ key: "{INPUT}" value {{ data_type: TYPE_FP32 dims: {warm} zero_data: true }} }} }}\n'
    )


def _ensemble(name: str, outputs: list[tuple[str, list[int]]]) -> str:
    network = [one for one, _ in outputs]
    steps = (
        (f"{name}-preprocess", ["image"], [INPUT, "photo_hw"]),
        (f"{name}-network", [INPUT], network),
        (f"{name}-postprocess", ["photo_hw", *network], ["labels", "people", "result"]),
    )
    text = f'name: "{name}"\nplatform: "ensemble"\nmax_batch_size: 0\n'
    text += (
        _tensors("input", IMAGE)
        + _tensors("output", LABELS, PEOPLE, RESULT)
        + LATEST
        + "ensemble_scheduling {\n"
    )
    for model, inputs, made in steps:
        text += f'  step {{\n    model_name: "{model}"\n    model_version: -1\n'
        text += "".join(f'    input_map {{ key: "{one}" value: "{one}" }}\n' for one in inputs)
        text += (
            "".join(f'    output_map {{ key: "{one}" value: "{one}" }}\n' for one in made) + "  }\n"
        )
    return text + "}\n"
