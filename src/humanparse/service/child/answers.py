"""Inside a worker: a picture and its options → the finished body of the response.

The web process only passes it on.
"""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from humanparse import formats, render
from humanparse.edit import edit, step
from humanparse.errors import OptionError, UnknownModel
from humanparse.parser import HumanParser
from humanparse.result import Parsing
from humanparse.service.child import tensors
from humanparse.service.options import ANSWER, TENSORS
from humanparse.system.files import sha256_of
from humanparse.weights.catalog import model_file


class Loaded(NamedTuple):
    """A model that is ready.

    Attributes:
        parser: The parser with the model.
        sha256: The SHA-256 of the model's file, in hex.
    """

    parser: HumanParser
    sha256: str


Models = Mapping[str, Loaded]  # by name, the service's first model first

PROBE_SIDE = 64  # pixels of the tiny picture, and of the network's input for it


def load(models: Sequence[str], options: Mapping[str, Any]) -> dict[str, Loaded]:
    """Open the models, and parse a tiny picture with each, so that what is broken is known.

    Args:
        models: Names or paths of models.
        options: Options of HumanParser, the same for all models.

    Returns:
        The models by name, in the same order.

    Raises:
        ModelError: For a model that cannot be loaded.
        MissingExtra: For an engine that is not installed.
        OptionError: For two models with the same name.
    """
    loaded: dict[str, Loaded] = {}
    for model in models:
        parser = HumanParser(model, **options)
        if parser.name in loaded:
            raise OptionError(
                f"two of the models are called {parser.name!r}; rename one, to tell them apart"
            )
        loaded[parser.name] = Loaded(parser, sha256_of(model_file(model)))
    probe(loaded)
    return loaded


def load_one(models: Sequence[str], name: str, options: Mapping[str, Any]) -> dict[str, Loaded]:
    """Open one of the models only; see `load`.

    Args:
        models: Names or paths of models.
        name: The name of the one; "" for the first.
        options: Options of HumanParser.

    Raises:
        ModelError: For a model that cannot be loaded, or no model of that name.
        MissingExtra: For an engine that is not installed.
    """
    # The one of that name first: others are opened only to learn what they are called.
    for model in sorted(models, key=lambda one: one != name):
        parser = HumanParser(model, **options)
        if name in ("", parser.name):
            loaded = {parser.name: Loaded(parser, sha256_of(model_file(model)))}
            probe(loaded)
            return loaded
    raise UnknownModel(f"there is no model {name!r} here; choose from {', '.join(models)}")


def probe(models: Models) -> None:
    """Parse a tiny grey picture with every model; raises whatever goes wrong.

    The network's input is tiny as well, where the model allows it: a probe takes milliseconds.
    """
    picture = np.full((PROBE_SIDE, PROBE_SIDE, 3), 128, np.uint8)
    for model in models.values():
        fixed = model.parser.preprocess.fit_hw is not None
        max_side = None if fixed else PROBE_SIDE
        with_options(model.parser, {"min_score": None, "max_side": max_side}).parse(picture)


def describe(models: Models) -> list[dict[str, Any]]:
    """Return what clients may know about each model, in plain JSON values."""
    return [parser.card.summary() | {"sha256": sha256} for parser, sha256 in models.values()]


def answer(models: Models, head: Mapping[str, Any], picture: bytes) -> tuple[dict[str, Any], bytes]:
    """Parse one picture.

    Args:
        models: The models by name.
        head: `Options.head()`; for jobs also the picture's "source".
        picture: The picture's file.

    Returns:
        What the server should know about the result, and the finished body.

    Raises:
        ImageError: For a picture that cannot be read.
        UnknownModel: For a model that is not loaded.
    """
    model = chosen(models, head["model"])
    parsing = with_options(model.parser, head).parse(picture)
    if source := head.get("source"):
        parsing = replace(parsing, name=_stem(source), file_name=source)
    start = time.perf_counter()
    missing: tuple[str, ...] = ()
    if head["edits"]:
        media_type, body, missing = _edited(parsing, head)
    else:
        media_type, body = _body(parsing, head)
    timings_ms = {**parsing.timings_ms, "answer": round((time.perf_counter() - start) * 1000, 2)}
    height, width = parsing.size_hw
    noted = {
        "media_type": media_type,
        "people": len(parsing.people),
        "width": width,
        "height": height,
        "megapixels": width * height / 1e6,
        "model": parsing.model,
        "model_sha256": model.sha256,
        "timings_ms": timings_ms,
        "missing": list(missing),
    }
    return noted, body


def chosen(models: Models, name: str) -> Loaded:
    """Return the model of that name; the first one for "". Raises UnknownModel."""
    name = name or next(iter(models))
    if name not in models:
        raise UnknownModel(f"there is no model {name!r} here; choose from {', '.join(models)}")
    return models[name]


def with_options(loaded: HumanParser, head: Mapping[str, Any]) -> HumanParser:
    """Return the parser with the request's options; it shares the loaded model."""
    if head["min_score"] is None and head["max_side"] is None:
        return loaded
    min_score = loaded.min_score if head["min_score"] is None else head["min_score"]
    return HumanParser(
        engine=loaded.engine,
        min_score=min_score,
        max_side=head["max_side"],
        max_megapixels=loaded.max_megapixels,
    )


def _stem(source: str) -> str:
    """The name of a file's results: its path without suffix, as a single name."""
    return str(PurePosixPath(source).with_suffix("")).replace("/", "_")


def _body(parsing: Parsing, head: Mapping[str, Any]) -> tuple[str, bytes]:
    """The media type and bytes of the format that was requested."""
    if head["style"]:
        return f"image/{head['encoding']}", _picture(
            parsing, head["style"], head["palette"], head["encoding"]
        )
    if head["format"] == TENSORS:
        return "application/octet-stream", tensors.encode(parsing, head["include"])
    if head["format"] == ANSWER:
        return "application/json", _answer(parsing, head["include"], head["palette"])
    form, file = formats.FORMATS[head["format"]], io.BytesIO()
    form.write(parsing, file, head["palette"])
    return form.content_type, file.getvalue()


def _edited(parsing: Parsing, head: Mapping[str, Any]) -> tuple[str, bytes, tuple[str, ...]]:
    """The media type and bytes of the edited photo, and in words what was not found.

    No file is read for a background: what a client names is no file of ours.
    """
    edited = edit(
        parsing,
        [step(*one) for one in head["edits"]],
        people=head["people"] or None,
        without_people=head["without_people"] or None,
        strength=head["strength"],
    )
    body = formats.encode_picture(edited.image, head["encoding"])
    return f"image/{head['encoding']}", body, edited.missing


def _picture(parsing: Parsing, style: str, palette: str, encoding: str) -> bytes:
    """The picture of /predict, in the photo's size."""
    if style == "cutout":
        return formats.encode_picture(render.cutout(parsing, crop=False), encoding)
    if style == "outlines":
        return formats.encode_picture(render.outlines_pixels(parsing), encoding)
    if style == "overlay":
        return formats.encode_picture(
            render.overlay_pixels(parsing, palette=palette, legend=False), encoding
        )
    return formats.encode_picture(render.colormap_pixels(parsing, palette=palette), encoding)


def _answer(parsing: Parsing, include: Sequence[str], palette: str) -> bytes:
    """The JSON of /parse: what clients of the older service read, and people with their parts."""
    data = formats.to_dict(parsing, masks="rle" in include, polygons="polygons" in include)
    found = formats.labelled_regions(parsing)
    answer = {
        "success": True,
        "labels": [label for label, _ in found],
        "scores": [round(float(region.score), 4) for _, region in found],
        "result_image": _base64_png(render.colormap_pixels(parsing, palette=palette)),
        "people": data["people"],
        "loose_parts": data["loose_parts"],
        "width": data["width"],
        "height": data["height"],
        "model": data["model"],
        "label_set": data["label_set"],
        "classes": data["labels"],
        "palette": [list(colour) for colour in parsing.labels.palette(palette)],
        "timings_ms": data["timings_ms"],
    }
    if "overlay" in include:
        answer["overlay"] = _base64_png(
            render.overlay_pixels(parsing, palette=palette, legend=False)
        )
    if "colormap" in include:
        answer["colormap"] = answer["result_image"]
    if "labels" in include:
        answer["label_map"] = _base64_png(formats.labels_image(parsing, palette))
        answer["person_map"] = _base64_png(formats.people_image(parsing))
    return json.dumps(answer, separators=(",", ":")).encode()


def _base64_png(picture: Image.Image | np.ndarray) -> str:
    return base64.b64encode(formats.encode_picture(picture, "png")).decode()
