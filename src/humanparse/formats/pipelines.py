"""The forms in which other pipelines return their results, for code that was written for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from humanparse.result import Parsing, Part, Person


def to_modelscope(parsing: Parsing) -> dict[str, list]:
    """Return the result in the form of ModelScope's human parsing pipeline: parts, then people.

    Unlike there, masks do not overlap, parts come person by person, and people are called "Human".

    Returns:
        {"masks", "labels", "scores"}, three lists. Each mask is float32 (H, W), 0 or 1: every part
        and person takes four bytes for each pixel of the photo.
    """
    found = labelled_regions(parsing)
    return {
        "masks": [region.mask.to_dense().astype(np.float32) for _, region in found],
        "labels": [label for label, _ in found],
        "scores": [region.score for _, region in found],
    }


def to_huggingface(parsing: Parsing) -> list[dict[str, Any]]:
    """Return the result in the form of Hugging Face's image segmentation: parts, then people.

    People are called "Human".

    Returns:
        [{"label", "score", "mask"}]. Each mask is a greyscale picture (mode L) in the photo's size,
        255 inside and 0 outside.
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
    """Return every part with its label, person by person; then parts of nobody; then every person.

    People are called "Human", or "whole-Human" if a class of the model is called "Human".
    """
    human = parsing.labels.name_beside("Human")
    parts = [part for person in parsing.people for part in person.parts.values()] + list(
        parsing.loose_parts
    )
    return [(part.label, part) for part in parts] + [(human, person) for person in parsing.people]
