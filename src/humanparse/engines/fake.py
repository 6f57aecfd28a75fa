"""An engine that answers what it was told: for tests of code that uses humanparse, without weights
or a runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


class FakeEngine:
    """`FakeEngine(answer, metadata)`: `answer(pixels)` gives the outputs. Remembers the inputs in
    `seen`."""

    def __init__(
        self, answer: Callable[[np.ndarray], dict[str, np.ndarray]], metadata: Mapping[str, str]
    ):
        self.answer = answer
        self.metadata = metadata
        self.seen: list[np.ndarray] = []

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        self.seen.append(pixels)
        return self.answer(pixels)
