"""An engine that returns what a function says.

For tests of code that uses humanparse, without weights or a runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


class FakeEngine:
    """An engine whose outputs come from a function.

    Args:
        answer: Gets the input, float32 (1, 3, H, W), and returns the outputs by name.
        metadata: Texts such as a model file holds, by key; see card.py.

    Attributes:
        seen: The inputs of all runs, in order.
    """

    def __init__(
        self, answer: Callable[[np.ndarray], dict[str, np.ndarray]], metadata: Mapping[str, str]
    ):
        self.answer = answer
        self.metadata = metadata
        self.seen: list[np.ndarray] = []

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Remember the input and return what `answer` returns; see Engine.run."""
        self.seen.append(pixels)
        return self.answer(pixels)
