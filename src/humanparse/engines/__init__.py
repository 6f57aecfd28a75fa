"""Engines run a network: arrays in, arrays out. A new runtime is one file here and one line in
`open_engine`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from humanparse.engines.base import Engine
from humanparse.engines.fake import FakeEngine
from humanparse.errors import OptionError
from humanparse.vocabulary import AUTO, DEVICES, ENGINES, PRECISIONS

GRAPH_BYTES = 8_000_000  # a file's network comes before its weights; this much holds it whole

__all__ = ["Engine", "FakeEngine", "bytes_of", "choose_engine", "is_int8", "open_engine"]


def open_engine(
    name: str,
    model: Path,
    threads: int | None = None,
    *,
    precision: str = "fp32",
    device: str = "cpu",
    cache: Path | None = None,
) -> Engine:
    """The engine of that name, or for "auto" the one that `choose_engine` names, with the model
    file loaded.

    precision: of the arithmetic of a float model; "bf16" rounds to eight bits of mantissa, where
    the processor can.
    device: "cpu", or "cuda" for an NVIDIA GPU, which takes ONNX Runtime in its build for it
    (onnxruntime-gpu).
    cache: folder in which an engine may keep what it has compiled, so that the next start is
    faster. Raises OptionError for another name, or for a precision or device that cannot be had;
    MissingExtra for a runtime that is not installed; BrokenModel for the file.
    """
    if precision not in PRECISIONS:
        raise OptionError(
            f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}"
        )
    if device not in DEVICES:
        raise OptionError(f"there is no device {device!r}; choose one of {', '.join(DEVICES)}")
    if name == AUTO:
        name = choose_engine(model, precision) if device == "cpu" else "onnxruntime"
    if name == "onnxruntime":
        if precision != "fp32":
            else_do = "choose the engine openvino" if device == "cpu" else "leave precision at fp32"
            raise OptionError(f"ONNX Runtime does not compute in {precision}; {else_do}")
        from humanparse.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(model, threads, device=device)
    if name == "openvino":
        if device != "cpu":
            raise OptionError(f"OpenVINO does not run on {device}; choose the engine onnxruntime")
        from humanparse.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(model, threads, precision=precision, cache=cache)
    raise OptionError(f"there is no engine {name!r}; choose one of {', '.join((AUTO, *ENGINES))}")


def choose_engine(model: Path, precision: str = "fp32") -> str:
    """OpenVINO for int8 files, where it is twice as fast, and for bf16 and .xml files, which only
    it knows; else ONNX Runtime.

    In fp32 both take about the same time (docs/speed-network.md), and ONNX Runtime starts sooner.
    """
    if precision != "fp32" or Path(model).suffix == ".xml":
        return "openvino"
    return "openvino" if find_spec("openvino") and is_int8(model) else "onnxruntime"


def bytes_of(model: Path) -> int:
    """Size of a model in bytes, with the .bin beside an .xml file, where its weights are. OSError
    if it is not there."""
    files = (model, model.with_suffix(".bin")) if model.suffix == ".xml" else (model,)
    return sum(file.stat().st_size for file in files)


def is_int8(model: Path) -> bool:
    """Whether an .onnx file holds a quantised network. False for a file that is not there."""
    try:
        with Path(model).open("rb") as file:
            return b"DequantizeLinear" in file.read(GRAPH_BYTES)
    except OSError:  # opening the model will say so
        return False
