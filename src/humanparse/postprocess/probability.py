"""Logits → probabilities."""

from __future__ import annotations

import numpy as np


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Of any shape. Logits are clipped at ±30, so that nothing overflows."""
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    """Along one axis, whose values then add up to 1."""
    odds = np.exp(logits - logits.max(axis, keepdims=True))
    return odds / odds.sum(axis, keepdims=True)
