"""Mean intersection over union of label maps, added up over any number of pictures."""

from __future__ import annotations

import numpy as np

IGNORE = 255


class MeanIoU:
    """Add pictures with `add`, then read `per_class`, `mean` and `pixel_accuracy`."""

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self.confusion = np.zeros((num_classes, num_classes), np.int64)  # [truth, prediction]

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """truth, prediction: uint8 (H, W), class of each pixel; pixels whose truth is 255 do not count.

        Raises ValueError if the sizes differ.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"the truth is {truth.shape} but the prediction is {prediction.shape}")
        known = truth != IGNORE
        pairs = truth[known].astype(np.int64) * self.num_classes + prediction[known]
        self.confusion += np.bincount(pairs, minlength=self.num_classes**2).reshape(self.confusion.shape)

    @property
    def per_class(self) -> np.ndarray:
        """float (num_classes,): IoU of each class; NaN for a class that is in no truth and no prediction."""
        both = np.diag(self.confusion)
        either = self.confusion.sum(0) + self.confusion.sum(1) - both
        return np.where(either > 0, both / np.maximum(either, 1), np.nan)

    @property
    def mean(self) -> float:
        """Mean over the classes that occur."""
        return float(np.nanmean(self.per_class)) if self.confusion.any() else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        return float(np.diag(self.confusion).sum() / max(self.confusion.sum(), 1))
