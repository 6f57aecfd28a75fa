"""Pixel measures of label maps: IoU and accuracy of each class and their means, added up over any
number of pictures."""

from __future__ import annotations

import numpy as np

IGNORE = 255


class MeanIoU:
    """Add pictures with `add` (or `add_confusion`), then read the measures.

    absent: what a class counts that occurs nowhere. NaN leaves it out of the means; the official
    evaluation of M2FP counts it as 0. Source: Long et al., arXiv 1411.4038, for the four measures.
    """

    def __init__(self, num_classes: int, absent: float = float("nan")):
        self.num_classes = num_classes
        self.absent = absent
        self.confusion = np.zeros((num_classes, num_classes), np.int64)  # [truth, prediction]

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """truth, prediction: uint8 (H, W), class of each pixel; pixels whose truth is 255 do not
        count.

        Raises ValueError if the sizes differ.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"the truth is {truth.shape} but the prediction is {prediction.shape}")
        known = truth != IGNORE
        pairs = truth[known].astype(np.int64) * self.num_classes + prediction[known]
        self.confusion += np.bincount(pairs, minlength=self.num_classes**2).reshape(
            self.confusion.shape
        )

    def add_confusion(self, confusion: np.ndarray) -> None:
        """confusion: int (num_classes, num_classes), pixels of one picture by [truth,
        prediction]."""
        self.confusion += confusion

    @property
    def per_class(self) -> np.ndarray:
        """float (num_classes,): IoU of each class; `absent` for a class that is in no truth and no
        prediction."""
        both = np.diag(self.confusion)
        either = self.confusion.sum(0) + self.confusion.sum(1) - both
        return np.where(either > 0, both / np.maximum(either, 1), self.absent)

    @property
    def mean(self) -> float:
        """Mean IoU over the classes that occur."""
        return _mean(self.per_class) if self.confusion.any() else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of the known pixels that have their class."""
        return float(np.diag(self.confusion).sum() / max(self.confusion.sum(), 1))

    @property
    def class_accuracy(self) -> np.ndarray:
        """float (num_classes,): share of each class's true pixels that are found; `absent` for a
        class in no truth."""
        truth = self.confusion.sum(1)
        return np.where(truth > 0, np.diag(self.confusion) / np.maximum(truth, 1), self.absent)

    @property
    def mean_accuracy(self) -> float:
        """Mean of `class_accuracy` over the classes of the truth."""
        return _mean(self.class_accuracy) if self.confusion.any() else float("nan")

    @property
    def frequency_weighted(self) -> float:
        """IoU of the classes, each weighted by its share of the true pixels."""
        truth = self.confusion.sum(1)
        return (
            float(np.nansum(self.per_class * truth) / truth.sum()) if truth.any() else float("nan")
        )


def _mean(values: np.ndarray) -> float:
    """Without the NaN among them; NaN if there is nothing else."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
