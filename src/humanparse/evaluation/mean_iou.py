"""Pixel measures of label maps, added up over any number of pictures.

They are the IoU and accuracy of each class, and their means. Source: Long et al., arXiv 1411.4038.
"""

from __future__ import annotations

import numpy as np

IGNORE = 255


class MeanIoU:
    """Add pictures with `add` (or `add_confusion`), then read the measures.

    Args:
        num_classes: The number of classes, including the background.
        absent: The value of a class that occurs nowhere. NaN leaves it out of the means; the
            official evaluation of M2FP counts it as 0.
    """

    def __init__(self, num_classes: int, absent: float = float("nan")):
        self.num_classes = num_classes
        self.absent = absent
        # [ground truth, prediction]
        self.confusion = np.zeros((num_classes, num_classes), np.int64)

    def add(self, ground_truth: np.ndarray, prediction: np.ndarray) -> None:
        """Add one picture.

        Args:
            ground_truth: uint8 (H, W), the class of each pixel; pixels with 255 do not count.
            prediction: uint8 (H, W), the class of each pixel.

        Raises:
            ValueError: If the sizes differ.
        """
        if ground_truth.shape != prediction.shape:
            raise ValueError(
                f"the ground truth is {ground_truth.shape} but the prediction is {prediction.shape}"
            )
        known = ground_truth != IGNORE
        pairs = ground_truth[known].astype(np.int64) * self.num_classes + prediction[known]
        self.confusion += np.bincount(pairs, minlength=self.num_classes**2).reshape(
            self.confusion.shape
        )

    def add_confusion(self, confusion: np.ndarray) -> None:
        """Add the confusion of one picture.

        Args:
            confusion: int (num_classes, num_classes), pixels by [true class, predicted class].
        """
        self.confusion += confusion

    @property
    def per_class(self) -> np.ndarray:
        """The IoU of each class, float (num_classes,).

        It is `absent` for a class that is in no ground truth and no prediction.
        """
        both = np.diag(self.confusion)
        either = self.confusion.sum(0) + self.confusion.sum(1) - both
        return np.where(either > 0, both / np.maximum(either, 1), self.absent)

    @property
    def mean(self) -> float:
        """The mean IoU over the classes that occur."""
        return _mean(self.per_class) if self.confusion.any() else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """The share of the known pixels whose class is right."""
        return float(np.diag(self.confusion).sum() / max(self.confusion.sum(), 1))

    @property
    def class_accuracy(self) -> np.ndarray:
        """The share of each class's true pixels that are predicted, float (num_classes,).

        It is `absent` for a class that is in no ground truth.
        """
        truth = self.confusion.sum(1)
        return np.where(truth > 0, np.diag(self.confusion) / np.maximum(truth, 1), self.absent)

    @property
    def mean_accuracy(self) -> float:
        """The mean of `class_accuracy` over the classes of the ground truth."""
        return _mean(self.class_accuracy) if self.confusion.any() else float("nan")

    @property
    def frequency_weighted(self) -> float:
        """The IoU of the classes, each weighted by its share of the true pixels."""
        truth = self.confusion.sum(1)
        return (
            float(np.nansum(self.per_class * truth) / truth.sum()) if truth.any() else float("nan")
        )


def _mean(values: np.ndarray) -> float:
    """Return the mean of all values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
