"""The one seam between our code and a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Engine(Protocol):
    """Runs one network. Safe to call from several threads at once."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Texts that travel inside the model file, by key; see card.py for ours."""

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on one photo.

        Args:
            pixels: float32 (1, 3, H, W), preprocessed.

        Returns:
            The outputs by name, each with its leading batch axis.
        """
