"""OpenVINO on the CPU (extra: openvino): reads the same .onnx files as ONNX Runtime."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache as once
from pathlib import Path

import numpy as np

from humanparse.errors import BrokenModel, MissingExtra, OptionError
from humanparse.system.cores import usable_cores
from humanparse.system.files import sha256_of, write_private

try:
    import openvino
except ImportError as error:
    raise MissingExtra("the openvino engine needs OpenVINO", "openvino") from error

from humanparse.engines.openvino_attention import fuse

# of compiled models that are kept; one is about as large as its .onnx file
MAX_CACHE_BYTES = 2_000_000_000
SUMS = ".sha256"  # the ending of a file beside a compiled model
MAX_STREAMS = 8  # runs at the same time, each with its own memory
NAMES = {"fp32": "f32", "bf16": "bf16"}  # precisions as OpenVINO calls them


class OpenVinoEngine:
    """An .onnx file with one input and named outputs, or the .xml that `humanparse export --to
    openvino` made of one.

    threads: CPU threads for one run; None takes the cores that this process may use. With fewer,
    several runs at the same
        time share the cores.
    precision: of float arithmetic. "fp32" is kept on any processor; "bf16" needs one that has it.
    cache: folder for the compiled model, which makes the next start several times faster; None
    keeps nothing. A cache that
        cannot be written or read is done without.
    Raises BrokenModel if the file is not an ONNX model that this OpenVINO can load, OptionError for
    bf16 that is not there.
    """

    def __init__(
        self,
        model: Path,
        threads: int | None = None,
        *,
        precision: str = "fp32",
        cache: Path | None = None,
    ):
        if precision == "bf16" and "BF16" not in core().get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise OptionError(
                "this processor does not compute in bf16 (it takes AVX-512 or AMX); leave precision at fp32"
            )
        # Unasked, processors with bfloat16 would round to it.
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": NAMES[precision]}
        if threads:
            # Runs at the same time wait for each other, unless each has a stream of its own.
            streams = max(1, min(MAX_STREAMS, usable_cores() // threads))
            options |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams * threads}
        if Path(model).suffix not in (".onnx", ".xml"):
            raise BrokenModel(
                f"{model} is not an .onnx or .xml file; give a model file of humanparse"
            )
        try:
            network = core().read_model(str(model))
            fuse(network)
            self.compiled = _compiled(model, network, options, cache)
        except RuntimeError as error:
            raise BrokenModel(
                f"{model} is not a model that can be loaded ({_last_line(error)}); get it again"
            ) from error
        self.output_names = [output.any_name for output in self.compiled.outputs]
        texts = network.get_rt_info()["framework"] if network.has_rt_info(["framework"]) else {}
        self.metadata = {key: value.astype(str) for key, value in texts.items()}

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """See Engine.run."""
        # one a run: several threads must not share it
        request = self.compiled.create_infer_request()
        values = request.infer([np.ascontiguousarray(pixels)])
        return {name: values[index] for index, name in enumerate(self.output_names)}


@once
def core() -> openvino.Core:
    """The only Core of this process, which it keeps; all that reads or compiles networks takes this
    one.

    A Core gives signal handlers another stack, and unmaps that stack when it goes. If a second one
    came meanwhile, that one goes back to the unmapped stack in its turn, and the next signal kills
    the process, be it Ctrl-C or the end of a child.
    """
    return openvino.Core()


def _compiled(
    model: Path,
    network: openvino.Model,
    options: dict,
    cache: Path | None,
) -> openvino.CompiledModel:
    if cache is not None:
        # OpenVINO names files by what is in the model. A folder for each model and options leaves
        # few of them to be checked.
        about = repr((str(Path(model).absolute()), sorted(options.items())))
        folder = cache / hashlib.sha256(about.encode()).hexdigest()[:16]
        try:
            _drop_damaged(folder)
            compiled = core().compile_model(network, "CPU", {**options, "CACHE_DIR": str(folder)})
            _note_sums(folder)
            _make_room(cache)
            return compiled
        except (RuntimeError, OSError):  # it cannot be written, is full or damaged: do without it
            pass
    return core().compile_model(network, "CPU", options)


def _drop_damaged(folder: Path) -> None:
    """Delete compiled models that are not as they were written: OpenVINO would take any weights."""
    for file in folder.glob("*.blob"):
        sums = file.with_suffix(SUMS)
        if not sums.is_file() or sums.read_text() != sha256_of(file):
            file.unlink(missing_ok=True)
            sums.unlink(missing_ok=True)


def _note_sums(folder: Path) -> None:
    """Keep the SHA-256 of each compiled model that is new.

    Should another process be writing it anew at this moment, the next start finds it damaged, and
    compiles.
    """
    for file in folder.glob("*.blob"):
        if not (sums := file.with_suffix(SUMS)).is_file():
            write_private(sums, sha256_of(file).encode(), durable=False)


def _make_room(cache: Path, max_bytes: int = MAX_CACHE_BYTES) -> None:
    """Delete compiled models that were not used for longest, until the others fit; OpenVINO itself
    deletes none."""
    found = []
    for file in cache.rglob("*.blob"):
        with suppress(OSError):  # another process may do the same
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
