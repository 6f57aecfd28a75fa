"""The forms of other pipelines, for code that was written for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from humanparse.result import Parsing, Part, Person


def to_modelscope(parsing: Parsing) -> dict[str, list]:
    """The result in the form of ModelScope's human parsing pipeline: {"masks", "labels", "scores"},
    parts, then people.

    masks: float32 (H, W) each, 0 or 1: as many bytes as four times the photo's pixels for every
    part and person. Other than there, masks do not overlap, parts come person by person, and people
    are called "Human".
    """
    found = labelled_regions(parsing)
    return {
        "masks": [region.mask.to_dense().astype(np.float32) for _, region in found],
        "labels": [label for label, _ in found],
        "scores": [region.score for _, region in found],
    }


def to_huggingface(parsing: Parsing) -> list[dict[str, Any]]:
    """The result in the form of Hugging Face's image segmentation: [{"label", "score", "mask"}],
    parts, then people.

    mask: a greyscale picture (mode L) of the photo's size, 255 inside and 0 outside. People are
    called "Human".
    """
    return [
        {
            "label": label,
            "score": float(region.score),
            "mask": Image.fromarray(region.mask.to_dense().view(np.uint8) * 255),
        }
        for label, region in labelled_regions(parsing)
    ]


def labelled_regions(parsing: Parsing) -> list[tuple[str, Part | Person]]:
    """Every part with its label, person by person, then those of nobody, then every person as
    "Human".

    Where a class of the model is called so, people are "whole-Human".
    """
    human = parsing.labels.name_beside("Human")
    parts = [part for person in parsing.people for part in person.parts.values()] + list(
        parsing.loose_parts
    )
    return [(part.label, part) for part in parts] + [(human, person) for person in parsing.people]
