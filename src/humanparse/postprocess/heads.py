"""The heads of networks: what each of them gives, and what reads it.

A new head is a module beside this one and a row here. Its name also goes into `vocabulary.HEADS`,
and if several views of a photo can be averaged for it, it has a row in tta.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from humanparse.labels import LabelSet
from humanparse.postprocess.assemble import Maps
from humanparse.postprocess.centres import CentreSettings, parse_centres
from humanparse.postprocess.queries import QuerySettings, parse_queries
from humanparse.postprocess.semantic import SemanticSettings, parse_semantic
from humanparse.preprocess import Geometry

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Head:
    """How the outputs of one kind of network are read.

    Attributes:
        outputs: The names of the outputs.
        optional: The names of outputs that models of earlier versions lack.
        classes: The output with one channel for each class, the axis of these channels, and how
            many of them are not classes of the label set (a whole person, no object).
        settings: The dataclass of the thresholds; its fields are the names that a model card may
            set.
        parse: (outputs, geometry, settings, labels) → `Maps`.
    """

    outputs: tuple[str, ...]
    optional: tuple[str, ...]
    classes: tuple[str, int, int]
    settings: type
    parse: Callable[[Outputs, Geometry, Any, LabelSet], Maps]

    def missing(self, outputs: Mapping[str, np.ndarray]) -> list[str]:
        """Return the names of the outputs that this head needs and that are missing."""
        return [name for name in self.outputs if name not in outputs]

    def num_classes(self, outputs: Mapping[str, np.ndarray]) -> int:
        """Return the number of classes that the network has, including the background."""
        output, axis, others = self.classes
        return outputs[output].shape[axis] - others


_QUERIES = ("pred_logits", "pred_masks")
HEADS: dict[str, Head] = {
    "centres": Head(
        ("classes", "person", "centre", "offset"),
        ("wears",),
        ("classes", 1, 0),
        CentreSettings,
        parse_centres,
    ),
    "queries": Head(_QUERIES, (), ("pred_logits", 2, 2), QuerySettings, parse_queries),
    "semantic": Head(_QUERIES, (), ("pred_logits", 2, 1), SemanticSettings, parse_semantic),
}
