"""The one seam between our code and a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Engine(Protocol):
    """Runs one network. Safe to call from several threads at once."""

    metadata: Mapping[str, str]
    """Texts that travel inside the model file, by key; see weights/catalog.py for ours."""

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """pixels: float32 (1, 3, H, W), preprocessed. Returns the outputs by name, each with its
        leading batch axis."""
