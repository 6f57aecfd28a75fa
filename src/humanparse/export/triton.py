"""Export for Triton Inference Server: a model repository that turns photos into maps and JSON.

    NAME              ensemble: image → labels, people, result
    NAME-preprocess   Python: the photo's bytes → the network's input
    NAME-network      ONNX Runtime: the model file, several photos of the same size at a time
    NAME-postprocess  Python: the network's outputs → people

The tensors have the names that the service's /v2 uses (service/api/v2.py), so one client works with
both. The two Python models are copies of the files in `triton_models/`; they need humanparse in
Triton's Python.
"""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from humanparse.card import ModelCard
from humanparse.errors import OptionError
from humanparse.export.graph import (
    INPUT,
    Written,
    open_batch,
    read_model,
    takes_batches,
    the_onnx_package,
)
from humanparse.system.files import scratch_folder, whole_folder
from humanparse.system.packaged import packaged

if TYPE_CHECKING:
    import onnx

MAX_BATCH = 8  # photos in one run of the network
MAX_DELAY_US = 2000  # for which the first of them waits for others, in microseconds
INSTANCES = 2  # of each Python model, so that two photos can be decoded at once
WARM_HW = (480, 640)  # size of the photo that the network is warmed up for
# The text of a file that keeps an otherwise empty folder, since many tools drop empty folders.
EMPTY = "Triton needs this folder, although an ensemble has no file of its own.\n"
ONE_AT_A_TIME = "the network takes one photo at a time: its graph holds a batch of one"


def write_triton(model: Path, folder: Path) -> Written:
    """Write the four models into a model repository, which may hold others.

    Args:
        model: The .onnx file of the model.
        folder: The repository; it is made if it does not exist.

    Returns:
        The files, with a note if the network cannot take several photos at once.

    Raises:
        OptionError: If models of these names already exist there.
    """
    network, card = read_model(model)
    onnx = the_onnx_package()
    name = re.sub(r"[^A-Za-z0-9._-]", "-", card.name)
    made_names = [name, *(f"{name}-{part}" for part in ("preprocess", "network", "postprocess"))]
    for one in made_names:
        if (folder / one).exists():
            raise OptionError(f"{folder / one} already exists; remove it, or give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    opened = onnx.ModelProto()
    opened.CopyFrom(network)
    open_batch(opened)
    with scratch_folder(folder) as scratch:
        batches = takes_batches(opened, scratch)
    outputs = _outputs(network)
    # The ensemble is entered first, so that it appears last: it names the others.
    with ExitStack() as stack:
        ensemble, before, middle, after = (
            stack.enter_context(whole_folder(folder / one)) for one in made_names
        )
        _write(ensemble, _ensemble(name, outputs))
        (ensemble / "1/README").write_text(EMPTY, "utf-8")
        _write_python(before, card, _preprocess(name), "preprocess.py")
        _write_python(after, card, _postprocess(name, outputs), "postprocess.py")
        _write(middle, _network(name, outputs, card, batches))
        onnx.save(opened if batches else network, middle / "1/model.onnx")
    files = (file for one in made_names for file in sorted((folder / one).rglob("*")))
    notes = () if batches else (ONE_AT_A_TIME,)
    return Written(tuple(file for file in files if file.is_file()), (), notes)


def _outputs(network: onnx.ModelProto) -> list[tuple[str, list[int]]]:
    """Name and sizes of each output, the batch first; -1 for sizes that follow the photo's."""
    found = []
    for output in network.graph.output:
        sizes = output.type.tensor_type.shape.dim
        found.append((output.name, [1, *(axis.dim_value or -1 for axis in sizes[1:])]))
    return found


def _write(folder: Path, config: str) -> None:
    """Write a model's configuration, and make the folder of its first version."""
    (folder / "config.pbtxt").write_text(config, "utf-8")
    (folder / "1").mkdir()


def _write_python(folder: Path, card: ModelCard, config: str, source: str) -> None:
    _write(folder, config)
    shutil.copyfile(packaged("export/triton_models") / source, folder / "1/model.py")
    (folder / "1/card.json").write_text(card.to_json(), "utf-8")


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
    skip = 1 if batches else 0  # where Triton adds the batch axis itself, it is not among the sizes
    tensors = [(one, data, dims[skip:]) for one, data, dims in (PIXELS, *_floats(outputs))]
    warm = [*([] if batches else [1]), 3, *card.preprocess.geometry(WARM_HW).input_hw]
    batching = (
        (
            "# Photos whose inputs have the same size run together; on a CPU that gains nothing.\n"
            f"dynamic_batching {{ max_queue_delay_microseconds: {MAX_DELAY_US} }}\n"
        )
        if batches
        else ""
    )
    return (
        f'name: "{name}-network"\nbackend: "onnxruntime"\n'
        + f"max_batch_size: {MAX_BATCH if batches else 0}\n"
        + _tensors("input", tensors[0])
        + _tensors("output", *tensors[1:])
        + batching
        + "# A GPU where there is one.\n"
        + _instances(1, "KIND_AUTO")
        + LATEST
        + f'model_warmup {{ name: "a photo of {WARM_HW[1]}x{WARM_HW[0]}" '
        + f"batch_size: {1 if batches else 0}\n"
        + f'  inputs {{ key: "{INPUT}" value {{ data_type: TYPE_FP32 dims: {warm} '
        + "zero_data: true } } }\n"
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
