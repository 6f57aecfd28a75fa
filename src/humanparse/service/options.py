"""The options of a request beside its picture, checked: for the routes of pictures and jobs.

They arrive as form fields, in the query or as keys of a JSON body, and mean the same in each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from humanparse.service.problems import Problem
from humanparse.service.settings import Settings
from humanparse.vocabulary import (
    EDITS,
    FORMAT_SUFFIXES,
    MAX_EVERY,
    MAX_REGION_LENGTH,
    MAX_STRENGTH,
    MIN_SIDE,
    MIN_STRENGTH,
    PALETTES,
    PEOPLE_PATTERN,
)

ANSWER = "answer"  # /parse's default format: one JSON with everything; the others are files
TENSORS = "tensors"  # for /v2 alone (api/v2.py)
FILES = tuple(FORMAT_SUFFIXES)
INCLUDE = ("rle", "polygons", "overlay", "colormap", "labels")
PICTURES = ("png", "jpeg", "webp")
STYLES = ("colormap", "overlay", "outlines", "cutout")


@dataclass(frozen=True)
class Options:
    """The options of one request.

    Attributes:
        model: The model's name, or "" for the service's first model.
        format: ANSWER or one of FILES.
        include: Those of INCLUDE that the response holds beside boxes and scores.
        min_score: From 0 to 1; None for the model's default.
        palette: The name of the colours.
        max_side: The longest side of the network's input in pixels; None for the model's default.
        style: What /predict draws, else "".
        encoding: The encoding of a picture, that of /predict or of an edited photo, else "".
        edits: The edits of /v1/edit, each the name of an operation and its text.
        people: The numbers of the people that are edited, as text; "" for everybody.
        without_people: The numbers of those who are not, as text.
        strength: That of blurring and pixelating, from 0.1 to 10.
        every: Of a clip, the step from one parsed frame to the next.
    """

    model: str = ""
    format: str = ANSWER
    include: tuple[str, ...] = ("rle",)
    min_score: float | None = None
    palette: str = "clear"
    max_side: int | None = None
    style: str = ""
    encoding: str = ""
    edits: tuple[tuple[str, str], ...] = ()
    people: str = ""
    without_people: str = ""
    strength: float = 1.0
    every: int = 1

    def head(self) -> dict[str, Any]:
        """Return the head of the work item, in plain JSON values."""
        return {"do": "parse", **vars(self), "include": list(self.include)}


NAMES = ("model", "format", "include", "min_score", "palette", "max_side")
PEOPLE_NAMES = ("people", "without_people")  # of whom the regions of edits are
EDIT_NAMES = ("model", "min_score", "max_side", "strength", *PEOPLE_NAMES, *EDITS)
CLIP_ONLY = ("every", "strength", *(name for name in EDITS if name != "crop"))
CLIP_NAMES = ("model", "min_score", "palette", "max_side", *CLIP_ONLY)
PICTURE_NAMES = ("model", "min_score", "palette", "max_side", "style")


def parse_options(fields: Mapping[str, Any], settings: Settings) -> Options:
    """Return the options of /parse, /v1/batch or a job.

    Args:
        fields: Texts, JSON values or lists of them, by option name.
        settings: The service's settings.

    Returns:
        The options, with defaults for those that are not given.

    Raises:
        Problem: bad_option, for an unknown name or an impossible value.
    """
    _refuse_unknown(fields, NAMES)
    return Options(
        **_common(fields, settings),
        format=_choice(fields, "format", (ANSWER, *FILES), ANSWER),
        include=_include(fields.get("include")),
    )


def picture_options(fields: Mapping[str, Any], accept: str, settings: Settings) -> Options:
    """Return the options of /predict.

    Args:
        fields: Texts, JSON values or lists of them, by option name.
        accept: The request's Accept header.
        settings: The service's settings.

    Returns:
        The options, with defaults for those that are not given.

    Raises:
        Problem: bad_option as for `parse_options`; not_acceptable if the client accepts none of our
            encodings.
    """
    _refuse_unknown(fields, PICTURE_NAMES)
    style = _choice(fields, "style", STYLES, "colormap")
    return Options(
        **_common(fields, settings),
        style=style,
        encoding=wanted_encoding(accept, transparent=style == "cutout"),
    )


def edit_options(fields: Mapping[str, Any], accept: str, settings: Settings) -> Options:
    """Return the options of /v1/edit.

    Regions are only read in the worker, which knows them; here they are texts.

    Args:
        fields: Texts, JSON values or lists of them, by option name.
        accept: The request's Accept header.
        settings: The service's settings.

    Returns:
        The options, with defaults for those that are not given.

    Raises:
        Problem: bad_option as for `parse_options`, or if nothing is to be edited; not_acceptable if
            the client accepts none of our encodings.
    """
    values = _edit_values(fields, settings)
    if not values["edits"]:
        raise Problem(
            "bad_option", f"nothing is to be edited; give a region for one of {', '.join(EDITS)}"
        )
    transparent = any(name == "cutout" for name, _ in values["edits"])
    return Options(**values, encoding=wanted_encoding(accept, transparent=transparent))


def check_edit_options(fields: Mapping[str, Any], settings: Settings) -> None:
    """Raise Problem, as `edit_options` does, for some of the options of /v1/edit: those of its
    query, which need not say what is edited."""
    _edit_values(fields, settings)


def clip_options(fields: Mapping[str, Any], settings: Settings) -> Options:
    """Return the options of a job that is a clip.

    Args:
        fields: Texts, JSON values or lists of them, by option name.
        settings: The service's settings.

    Returns:
        The options, with defaults for those that are not given. Regions of edits are only read in
        the worker.

    Raises:
        Problem: bad_option, for an unknown name or an impossible value.
    """
    _refuse_unknown(fields, CLIP_NAMES)
    every = _whole(fields, "every", 1, MAX_EVERY, " of frames")
    return Options(**_common(fields, settings), **_edits(fields), every=every or 1)


def wanted_encoding(accept: str, *, transparent: bool = False) -> str:
    """Return the encoding of PICTURES that the Accept header prefers.

    Args:
        accept: The header; where it has no preference, JPEG is chosen, or PNG for transparent
            pictures.
        transparent: Whether the picture is transparent, which JPEG cannot be.

    Returns:
        "jpeg", "png" or "webp".

    Raises:
        Problem: not_acceptable, if it accepts none of them.
    """
    order = ("png", "webp") if transparent else ("jpeg", "png", "webp")
    wishes = [_wish(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    best, liked = "", 0.0
    for encoding in order:
        weight = _weight(f"image/{encoding}", wishes)
        if weight > liked:
            best, liked = encoding, weight
    if not best:
        offers = ", ".join(f"image/{one}" for one in order)
        raise Problem(
            "not_acceptable",
            f"the Accept header wants none of the encodings of this picture: {offers}",
        )
    return best


# One option each


def _edit_values(fields: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The fields of Options that /v1/edit has but the encoding."""
    _refuse_unknown(fields, EDIT_NAMES)
    people = {name: _people(fields, name) for name in PEOPLE_NAMES}
    if all(people.values()):
        raise Problem("bad_option", "people and without_people exclude each other; give one")
    return {
        **_common(fields, settings),
        **people,
        **_edits(fields),
    }


def _common(fields: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    return {
        "model": str(_single(fields, "model") or ""),
        "min_score": _number(fields, "min_score", 0, 1),
        "palette": _choice(fields, "palette", PALETTES, "clear"),
        "max_side": _whole(fields, "max_side", MIN_SIDE, settings.max_side, " of pixels"),
    }


def _edits(fields: Mapping[str, Any]) -> dict[str, Any]:
    strength = _number(fields, "strength", MIN_STRENGTH, MAX_STRENGTH)
    return {
        "edits": tuple((name, text) for name in EDITS for text in _texts(fields.get(name), name)),
        "strength": 1.0 if strength is None else strength,
    }


def _refuse_unknown(fields: Mapping[str, Any], names: Sequence[str]) -> None:
    unknown = [name for name in fields if name not in names]
    if unknown:
        raise Problem(
            "bad_option", f"there is no option {_shown(unknown[0])}; there are {', '.join(names)}"
        )


def _single(fields: Mapping[str, Any], name: str) -> Any:
    """The value of an option that may be given only once; "" counts as not given."""
    value = fields.get(name)
    if isinstance(value, list | tuple):
        if len(value) > 1:
            raise Problem(
                "bad_option", f"the option {name} is given {len(value)} times; give it once"
            )
        value = value[0] if value else None
    if isinstance(value, dict | bool):
        raise Problem(
            "bad_option", f"the option {name} is {_shown(value)}; give a text or a number"
        )
    return None if value == "" else value


def _choice(fields: Mapping[str, Any], name: str, choices: Sequence[str], default: str) -> str:
    value = _single(fields, name)
    if value is None:
        return default
    if value not in choices:
        raise Problem("bad_option", f"{name} is {_shown(value)}; choose from {', '.join(choices)}")
    return value


def _number(fields: Mapping[str, Any], name: str, minimum: float, maximum: float) -> float | None:
    value = _single(fields, name)
    if value is None:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = float("nan")
    if not minimum <= number <= maximum:
        raise Problem(
            "bad_option",
            f"{name} is {_shown(value)}; give a number from {minimum:g} to {maximum:g}",
        )
    return number


def _texts(value: Any, name: str) -> list[str]:
    """The texts of an option that may be given several times; "" counts as not given."""
    texts = value if isinstance(value, list | tuple) else [value]
    texts = [text for text in texts if text not in (None, "")]
    for text in texts:
        if not isinstance(text, str):
            raise Problem("bad_option", f"{name} is {_shown(text)}; give a region, such as 'face'")
    return texts


def _people(fields: Mapping[str, Any], name: str) -> str:
    """Numbers of people as text, such as "1,3", also from a list in JSON; "" for none given."""
    value = fields.get(name)
    texts = value if isinstance(value, list | tuple) else [value]
    text = ",".join(str(one) for one in texts if one not in (None, ""))
    if text and not (re.fullmatch(PEOPLE_PATTERN, text) and len(text) <= MAX_REGION_LENGTH):
        raise Problem(
            "bad_option", f"{name} is {_shown(value)}; give numbers of people, such as '2' or '1,3'"
        )
    return text


def _whole(
    fields: Mapping[str, Any], name: str, minimum: int, maximum: int, unit: str
) -> int | None:
    number = _number(fields, name, minimum, maximum)
    if number is not None and number != int(number):
        raise Problem("bad_option", f"{name} is {number:g}; give a whole number{unit}")
    return None if number is None else int(number)


def _include(value: Any) -> tuple[str, ...]:
    """The names in "rle,overlay" or a list of such texts, each once and in the order of INCLUDE.

    "none" leaves the masks out.
    """
    if value is None or value == "" or value == []:
        return ("rle",)
    texts = value if isinstance(value, list | tuple) else [value]
    names = {name.strip() for text in texts for name in str(text).split(",") if name.strip()} - {
        "none"
    }
    for name in sorted(names):
        if name not in INCLUDE:
            raise Problem(
                "bad_option",
                f"include holds {_shown(name)}; choose from {', '.join(INCLUDE)}, or none",
            )
    return tuple(name for name in INCLUDE if name in names)


def _shown(value: Any) -> str:
    """A client's value, short and printable."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# Accept


def _wish(part: str) -> tuple[str, float]:
    """ "image/png;q=0.5" → ("image/png", 0.5)."""
    kind, *parameters = [piece.strip().lower() for piece in part.split(";")]
    weights = [piece[2:] for piece in parameters if piece.startswith("q=")]
    try:
        weight = float(weights[0]) if weights else 1.0
    except ValueError:
        weight = 0.0
    return kind, weight if 0 <= weight <= 1 else 0.0


def _weight(kind: str, wishes: Sequence[tuple[str, float]]) -> float:
    """How much a media type is preferred: the most specific pattern decides."""
    for pattern in (kind, "image/*", "*/*"):
        for wish, weight in wishes:
            if wish == pattern:
                return weight
    return 0.0
