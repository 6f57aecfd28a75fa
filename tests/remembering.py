"""An engine for tests that send the same few pictures again and again."""

from __future__ import annotations

import hashlib

import numpy as np


class RememberingEngine:
    """Runs another engine once for each different picture, and then returns what it returned."""

    def __init__(self, engine):
        self.engine, self.metadata = engine, engine.metadata
        self._outputs: dict[bytes, dict[str, np.ndarray]] = {}

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if digest not in self._outputs:
            self._outputs[digest] = self.engine.run(pixels)
            for output in self._outputs[digest].values():
                output.setflags(write=False)  # the next run gets the same arrays
        return dict(self._outputs[digest])
