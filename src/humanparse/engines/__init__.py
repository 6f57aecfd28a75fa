"""Engines run a network: arrays in, arrays out. A new runtime is one file here and one line in `open_engine`."""

from __future__ import annotations

from pathlib import Path

from humanparse.engines.base import Engine
from humanparse.engines.fake import FakeEngine
from humanparse.errors import OptionError

ENGINES = ("onnxruntime", "openvino")

__all__ = ["ENGINES", "Engine", "FakeEngine", "open_engine"]


def open_engine(name: str, model: Path, threads: int | None = None) -> Engine:
    """The engine of that name with the model file loaded.

    Raises OptionError for another name, MissingExtra for a runtime that is not installed, BrokenModel for the file.
    """
    if name == "onnxruntime":
        from humanparse.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(model, threads)
    if name == "openvino":
        from humanparse.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(model, threads)
    raise OptionError(f"there is no engine {name!r}; choose one of {', '.join(ENGINES)}")
