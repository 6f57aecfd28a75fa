"""OpenVINO (extra: openvino): reads the same .onnx files as ONNX Runtime.

It runs them on the processor, and on Intel's GPUs and NPUs (accelerators.py).

M2FP's attention pass is in openvino_attention.py: while a model is loaded, it rewrites the
deformable attention of its graph into the form that OpenVINO computes fastest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache as once
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from humanparse.engines.accelerators import TABLE, Accelerator
from humanparse.errors import BrokenModel, MissingExtra, OptionError
from humanparse.system.cores import usable_cores
from humanparse.system.files import sha256_of, write_private

try:
    import openvino
except ImportError as error:
    raise MissingExtra("the openvino engine needs OpenVINO", "openvino") from error

from humanparse.engines.openvino_attention import fuse

# all compiled models that are kept; one is about as large as its .onnx file
MAX_CACHE_BYTES = 2_000_000_000
SUMS = ".sha256"  # the ending of a file beside a compiled model
# Sizes of inputs for which a device that needs fixed sizes keeps a compiled model each.
MAX_SIZES = 8
MAX_STREAMS = 8  # runs at the same time, each with its own memory
NAMES = {"fp32": "f32", "bf16": "bf16"}  # precisions as OpenVINO calls them


class OpenVinoEngine:
    """An .onnx file with one input and named outputs, or its .xml form.

    The .xml form is what `humanparse export --to openvino` writes.

    Args:
        model: The file.
        threads: CPU threads for one run; None for every core that this process may use. With fewer,
            several runs at the same time share the cores.
        precision: Of float arithmetic. "fp32" is kept on any processor; "bf16" needs one that has
            it.
        device: "cpu", or an accelerator that OpenVINO reaches.
        cache: Folder for the compiled model, which makes the next start several times faster; None
            keeps nothing. A folder that cannot be used is ignored.

    Raises:
        BrokenModel: If the file is not a model that this OpenVINO can load.
        OptionError: For bf16 on a processor without it, or for an accelerator that is not here.
    """

    def __init__(
        self,
        model: Path,
        threads: int | None = None,
        *,
        precision: str = "fp32",
        device: str = "cpu",
        cache: Path | None = None,
    ):
        elsewhere = None if device == "cpu" else _found(TABLE[device], precision)
        options: dict[str, str | int] = (
            {**elsewhere.options} if elsewhere else _processor_options(threads, precision)
        )
        if Path(model).suffix not in (".onnx", ".xml"):
            raise BrokenModel(
                f"{model} is not an .onnx or .xml file; give a model file of humanparse"
            )
        try:
            network = core().read_model(str(model))
            if elsewhere is None:
                fuse(network)
            place = elsewhere.provider if elsewhere else "CPU"
            compiled = partial(_compiled, model, place, options, cache)
            if elsewhere and elsewhere.fixed_size:
                self._compiled_for: Callable[[tuple[int, ...]], openvino.CompiledModel] = lru_cache(
                    MAX_SIZES
                )(lambda size: compiled(_of_size(network, size)))
            else:
                of_all_sizes = compiled(network)
                self._compiled_for = lambda size: of_all_sizes
        except RuntimeError as error:
            raise BrokenModel(
                f"{model} is not a model that can be loaded ({_last_line(error)}); get it again"
            ) from error
        self.output_names = [output.any_name for output in network.outputs]
        texts = network.get_rt_info()["framework"] if network.has_rt_info(["framework"]) else {}
        self.metadata: dict[str, str] = {key: value.astype(str) for key, value in texts.items()}

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on one photo; see Engine.run."""
        # a new one for each run: threads must not share it
        request = self._compiled_for(pixels.shape).create_infer_request()
        values = request.infer([np.ascontiguousarray(pixels)])
        return {name: values[index] for index, name in enumerate(self.output_names)}


@once
def core() -> openvino.Core:
    """Return the only Core of this process; everything that reads or compiles networks uses it.

    A Core gives signal handlers another stack, and unmaps that stack when it is destroyed. If a
    second Core was made in between, its destruction restores the unmapped stack, and the next
    signal kills the process, whether from Ctrl-C or from a child that ended.
    """
    return openvino.Core()


def _processor_options(threads: int | None, precision: str) -> dict[str, str | int]:
    """Raises OptionError for bf16 on a processor without it."""
    if precision == "bf16" and "BF16" not in core().get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        raise OptionError(
            "this processor does not compute in bf16 (that needs AVX-512 or AMX); "
            "leave precision at fp32"
        )
    # Without the second hint, processors with bfloat16 would round to it.
    options: dict[str, str | int] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": NAMES[precision],
    }
    if threads:
        # Runs at the same time wait for each other unless each has its own stream.
        streams = max(1, min(MAX_STREAMS, usable_cores() // threads))
        options |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams * threads}
    return options


def _found(elsewhere: Accelerator, precision: str) -> Accelerator:
    """Return the accelerator.

    Raises OptionError if OpenVINO does not find it on this machine, or for bf16, which it lacks.
    """
    if precision == "bf16":
        raise OptionError(
            f"{elsewhere.title} does not compute in bf16; leave precision at fp32, "
            "or choose the device cpu"
        )
    here = core().available_devices  # such as GPU, or GPU.0 and GPU.1
    if not any(name.split(".")[0] == elsewhere.provider for name in here):
        raise OptionError(
            f"OpenVINO finds no {elsewhere.title} here, only {', '.join(here)}; "
            f"for {elsewhere.hardware}: {elsewhere.install}; or choose the device cpu"
        )
    return elsewhere


def _of_size(network: openvino.Model, size: tuple[int, ...]) -> openvino.Model:
    """Return a copy of the network for inputs of one size alone."""
    fixed = network.clone()
    fixed.reshape(list(size))
    return fixed


def _compiled(
    model: Path,
    place: str,
    options: dict[str, str | int],
    cache: Path | None,
    network: openvino.Model,
) -> openvino.CompiledModel:
    if cache is not None:
        # OpenVINO names files by the contents of the model. With a folder for each pair of model
        # and options, few files have to be checked.
        about = repr((str(Path(model).absolute()), place, sorted(options.items())))
        folder = cache / hashlib.sha256(about.encode()).hexdigest()[:16]
        try:
            _drop_damaged(folder)
            compiled = core().compile_model(network, place, {**options, "CACHE_DIR": str(folder)})
            _note_sums(folder)
            _make_room(cache)
            return compiled
        except (RuntimeError, OSError):  # unwritable, full or damaged: compile without it
            pass
    return core().compile_model(network, place, options)


def _drop_damaged(folder: Path) -> None:
    """Delete compiled models that have changed since: OpenVINO would accept any weights."""
    for file in folder.glob("*.blob"):
        sums = file.with_suffix(SUMS)
        if not sums.is_file() or sums.read_text() != sha256_of(file):
            file.unlink(missing_ok=True)
            sums.unlink(missing_ok=True)


def _note_sums(folder: Path) -> None:
    """Write down the SHA-256 of each new compiled model.

    If another process is rewriting it at this moment, the next start finds it damaged, and compiles
    it again.
    """
    for file in folder.glob("*.blob"):
        if not (sums := file.with_suffix(SUMS)).is_file():
            write_private(sums, sha256_of(file).encode(), durable=False)


def _make_room(cache: Path, max_bytes: int = MAX_CACHE_BYTES) -> None:
    """Delete the least recently used compiled models until the others fit.

    OpenVINO itself deletes none.
    """
    found = []
    for file in cache.rglob("*.blob"):
        with suppress(OSError):  # another process may have deleted it
            details = file.stat()
            found.append((max(details.st_atime, details.st_mtime), details.st_size, file))
    for _, size, file in sorted(found, reverse=True):
        max_bytes -= size
        if max_bytes < 0:
            with suppress(OSError):
                file.unlink()
                file.with_suffix(SUMS).unlink(missing_ok=True)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
