"""Label Studio: predictions to begin from, as brush masks or polygons, and the labelling interface
for them.

Brush masks have a run-length code of their own (https://github.com/thi-ng/umbrella, rle-pack), not
COCO's: a stream of bits, in which a header is followed by runs of equal bytes of the mask's RGBA
picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from humanparse.errors import OptionError
from humanparse.labels import LabelSet
from humanparse.masks import Mask, row_runs
from humanparse.result import Parsing, Part

KINDS = ("brush", "polygons")
FROM_NAME, TO_NAME = "parts", "image"  # of the controls in the labelling interface
WORD_BITS = 8
RUN_BITS = (3, 4, 8, 16)  # lengths of runs are written in so many bits, whichever suffices


def to_label_studio(parsing: Parsing, kind: str = "brush") -> dict[str, Any]:
    """Return one prediction, for the list "predictions" of a task.

    Args:
        parsing: The photo's result.
        kind: "brush" for masks to the pixel, "polygons" for outlines that are moved by hand.

    Raises:
        OptionError: There is no such kind.
    """
    if kind not in KINDS:
        raise OptionError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}")
    results = [
        one for part, person in parsing.parts for one in _results(part, person, kind) if part.area
    ]
    scores = [part.score for part, _ in parsing.parts]
    score = float(np.mean(scores)) if scores else 0.0
    return {"model_version": parsing.model, "score": round(score, 4), "result": results}


def label_studio_config(labels: LabelSet, kind: str = "brush") -> str:
    """Return the labelling interface, XML, that `to_label_studio` fits. Raises OptionError for
    another kind."""
    from xml.sax.saxutils import quoteattr  # slow to import: it brings all of urllib and ssl

    if kind not in KINDS:
        raise OptionError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}")
    control = "BrushLabels" if kind == "brush" else "PolygonLabels"
    rows = "".join(
        f'    <Label value={quoteattr(name)} background="#{red:02x}{green:02x}{blue:02x}"/>\n'
        for name, (red, green, blue) in list(zip(labels.names, labels.palette(), strict=True))[1:]
    )
    return (
        f'<View>\n  <Image name="{TO_NAME}" value="$image" zoom="true"/>\n'
        f'  <{control} name="{FROM_NAME}" toName="{TO_NAME}">\n{rows}  </{control}>\n</View>\n'
    )


def brush_rle(mask: Mask) -> list[int]:
    """Return a mask in Label Studio's own run-length code, as the list of bytes that its JSON
    holds."""
    runs = [4 * length for length in row_runs(mask.to_dense())]  # RGBA
    bits = [_bits(4 * mask.size_hw[0] * mask.size_hw[1], 32), _bits(WORD_BITS - 1, 5)]
    bits += [_bits(width - 1, 4) for width in RUN_BITS]
    for number, length in enumerate(runs):
        value = 255 * (number % 2)
        while length:
            piece = min(length, 1 << RUN_BITS[-1])
            size = next(index for index, width in enumerate(RUN_BITS) if piece <= 1 << width)
            bits += ["1", _bits(size, 2), _bits(piece - 1, RUN_BITS[size]), _bits(value, WORD_BITS)]
            length -= piece
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return [int(stream[start : start + 8], 2) for start in range(0, len(stream), 8)]


def _bits(value: int, width: int) -> str:
    return format(value, f"0{width}b")


def _results(part: Part, person: int, kind: str) -> list[dict[str, Any]]:
    height, width = part.mask.size_hw
    common = {
        "from_name": FROM_NAME,
        "to_name": TO_NAME,
        "original_width": int(width),
        "original_height": int(height),
        "image_rotation": 0,
        "score": round(float(part.score), 4),
        "meta": {"person_id": int(person)},
    }
    if kind == "brush":
        value = {"format": "rle", "rle": brush_rle(part.mask), "brushlabels": [part.label]}
        return [common | {"type": "brushlabels", "value": value}]
    return [
        common
        | {
            "type": "polygonlabels",
            "value": {
                "points": (polygon / (width, height) * 100).tolist(),
                "closed": True,
                "polygonlabels": [part.label],
            },
        }
        for polygon in part.mask.to_polygons()
    ]
