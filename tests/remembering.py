"""Engines for tests that look at the same few pictures again and again."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from humanparse.engines import Engine


class RememberingEngine:
    """Runs another engine once for each different picture, and then returns what it returned."""

    def __init__(self, engine: Engine):
        self.engine, self.metadata = engine, engine.metadata
        self._outputs: dict[bytes, dict[str, np.ndarray]] = {}

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if digest not in self._outputs:
            self._outputs[digest] = self.engine.run(pixels)
            for output in self._outputs[digest].values():
                output.setflags(write=False)  # the next run gets the same arrays
        return dict(self._outputs[digest])


def remembering(open_engine: Callable[..., Engine]) -> Callable[..., Engine]:
    """Return an `open_engine` that opens each file once for the same options."""

    @functools.cache
    def opened(name: str, file: Path, threads: int | None, **options) -> Engine:
        return RememberingEngine(open_engine(name, file, threads, **options))

    def open_once(name: str, model: Path, threads: int | None = None, **options) -> Engine:
        return opened(name, Path(model).absolute(), threads, **options)

    return open_once
