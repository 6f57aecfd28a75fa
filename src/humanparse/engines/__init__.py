"""Engines run a network: arrays in, arrays out.

A new engine is one file here, one row of RUNTIMES, and its name in `vocabulary.ENGINES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from humanparse.engines import accelerators
from humanparse.engines.base import Engine
from humanparse.engines.fake import FakeEngine
from humanparse.errors import OptionError
from humanparse.vocabulary import AUTO, ENGINES, PRECISIONS, RUN_ON

GRAPH_BYTES = 8_000_000  # a file holds its network before its weights; this much holds all of it

__all__ = [
    "RUNTIMES",
    "Engine",
    "FakeEngine",
    "Runtime",
    "bytes_of",
    "choose_engine",
    "is_int8",
    "open_engine",
]


@dataclass(frozen=True)
class Runtime:
    """What runs networks: a row of RUNTIMES.

    Attributes:
        title: What its makers call it.
        precisions: Those of PRECISIONS that it computes in.
        devices: Those of RUN_ON that it reaches.
        open: Loads a model; called with the file, the number of threads (None for every core that
            may be used), precision, device and cache folder.
    """

    title: str
    precisions: tuple[str, ...]
    devices: tuple[str, ...]
    open: Callable[[Path, int | None, str, str, Path | None], Engine]


# Each imports its library only when it is called: it may not be installed, and takes time.


def _onnxruntime(
    model: Path, threads: int | None, precision: str, device: str, cache: Path | None
) -> Engine:
    from humanparse.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, threads, device=device)


def _openvino(
    model: Path, threads: int | None, precision: str, device: str, cache: Path | None
) -> Engine:
    from humanparse.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(model, threads, precision=precision, device=device, cache=cache)


def _devices(engine: str) -> tuple[str, ...]:
    return ("cpu", *(name for name, row in accelerators.TABLE.items() if row.engine == engine))


RUNTIMES = {  # by the names in `vocabulary.ENGINES`, in that order
    "onnxruntime": Runtime("ONNX Runtime", ("fp32",), _devices("onnxruntime"), _onnxruntime),
    "openvino": Runtime("OpenVINO", ("fp32", "bf16"), _devices("openvino"), _openvino),
}


def open_engine(
    name: str,
    model: Path,
    threads: int | None = None,
    *,
    precision: str = "fp32",
    device: str = "cpu",
    cache: Path | None = None,
) -> Engine:
    """Load a model file into an engine.

    Args:
        name: One of `vocabulary.ENGINES`, or "auto" for the one that `choose_engine` names.
        model: The model file.
        threads: CPU threads for one run; None for every core that this process may use.
        precision: Of the arithmetic of a float model. "bf16" rounds to eight bits of mantissa,
            where the processor can.
        device: "cpu", or one of `vocabulary.ACCELERATORS`; docs/speed-network.md says what each
            needs.
        cache: Folder in which an engine may keep what it has compiled, so that the next start is
            faster.

    Returns:
        The engine, ready to run.

    Raises:
        OptionError: For an unknown name, precision or device, or one that cannot be had here.
        MissingExtra: For a runtime that is not installed.
        BrokenModel: For a file that cannot be loaded.
    """
    if precision not in PRECISIONS:
        raise OptionError(
            f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}"
        )
    if device not in RUN_ON:
        raise OptionError(f"there is no device {device!r}; choose one of {', '.join(RUN_ON)}")
    if name == AUTO:
        name = (
            choose_engine(model, precision)
            if device == "cpu"
            else accelerators.TABLE[device].engine
        )
    if name not in RUNTIMES:
        known = ", ".join((AUTO, *ENGINES))
        raise OptionError(f"there is no engine {name!r}; choose one of {known}")
    _check(RUNTIMES[name], precision, device)
    return RUNTIMES[name].open(model, threads, precision, device, cache)


def choose_engine(model: Path, precision: str = "fp32") -> str:
    """Return the name of the engine that runs a model fastest on the CPU.

    OpenVINO for int8 files, where it is twice as fast, and for bf16 and .xml files, which it alone
    knows; otherwise ONNX Runtime. In fp32 both take about the same time (docs/speed-network.md),
    and ONNX Runtime starts sooner.

    Args:
        model: The model file; it need not exist.
        precision: One of PRECISIONS.

    Returns:
        One of `vocabulary.ENGINES`. For bf16 and .xml files it may not be installed.
    """
    if precision != "fp32" or Path(model).suffix == ".xml":
        return "openvino"
    return "openvino" if find_spec("openvino") and is_int8(model) else "onnxruntime"


def bytes_of(model: Path) -> int:
    """Return the size of a model in bytes.

    Args:
        model: The model file; for an .xml file the .bin beside it, with the weights, counts too.

    Raises:
        OSError: If a file does not exist.
    """
    files = (model, model.with_suffix(".bin")) if model.suffix == ".xml" else (model,)
    return sum(file.stat().st_size for file in files)


def is_int8(model: Path) -> bool:
    """Return whether an .onnx file holds a quantised network; False if there is no such file."""
    try:
        with Path(model).open("rb") as file:
            return b"DequantizeLinear" in file.read(GRAPH_BYTES)
    except OSError:  # opening the model will report it
        return False


def _check(runtime: Runtime, precision: str, device: str) -> None:
    """Raise OptionError for what a runtime cannot do, and name one that can."""
    able = [
        f"choose the engine {name}"
        for name, other in RUNTIMES.items()
        if precision in other.precisions and device in other.devices
    ]
    if precision not in runtime.precisions:
        advice = able[0] if able else f"leave precision at {runtime.precisions[0]}"
        raise OptionError(f"{runtime.title} does not compute in {precision}; {advice}")
    if device not in runtime.devices:
        advice = able[0] if able else f"leave device at {runtime.devices[0]}"
        raise OptionError(f"{runtime.title} does not run on {device}; {advice}")
