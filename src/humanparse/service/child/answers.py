"""In a worker: a picture and its options → the finished body of the answer. The web process only
passes it on."""

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
from humanparse.errors import OptionError, UnknownModel
from humanparse.parser import HumanParser
from humanparse.result import Parsing
from humanparse.service.child import tensors
from humanparse.service.options import ANSWER, TENSORS
from humanparse.system.files import sha256_of
from humanparse.vocabulary import PALETTES
from humanparse.weights.catalog import model_file


class Loaded(NamedTuple):
    """A model that is ready. sha256: of its file."""

    parser: HumanParser
    sha256: str


Models = Mapping[str, Loaded]  # by name, the service's first model first


def load(models: Sequence[str], options: Mapping[str, Any]) -> dict[str, Loaded]:
    """Open the models, and parse a tiny picture with each, so that the first request finds
    everything warm.

    options: of HumanParser, the same for all. Raises ModelError or MissingExtra for a model or
    engine that cannot be had, OptionError for two of the same name.
    """
    loaded: dict[str, Loaded] = {}
    for model in models:
        parser = HumanParser(model, **options)
        if parser.name in loaded:
            raise OptionError(
                f"two of the models are called {parser.name!r}; clients could not tell them apart"
            )
        loaded[parser.name] = Loaded(parser, sha256_of(model_file(model)))
    probe(loaded)
    return loaded


def probe(models: Models) -> None:
    """Parse a tiny grey picture with every model; raises whatever goes wrong."""
    for model in models.values():
        model.parser.parse(np.full((64, 64, 3), 128, np.uint8))


def describe(models: Models) -> list[dict[str, Any]]:
    """What clients may know of each model, in plain JSON values."""
    return [
        {
            "name": name,
            "label_set": parser.labels.name,
            "classes": list(parser.labels.names),
            "palettes": {
                name: [list(colour) for colour in parser.labels.palette(name)] for name in PALETTES
            },
            "license": parser.card.license,
            "sha256": sha256,
        }
        for name, (parser, sha256) in models.items()
    ]


def answer(models: Models, head: Mapping[str, Any], picture: bytes) -> tuple[dict[str, Any], bytes]:
    """Parse one picture.

    head: `Options.head()`, in jobs with the picture's "source"; picture: the file's bytes.

    Returns what to note of it, and the finished body. Raises ImageError for the picture,
    UnknownModel for the model.
    """
    model = _model(models, head["model"])
    parsing = _with_options(model.parser, head).parse(picture)
    if source := head.get("source"):
        parsing = replace(parsing, name=_stem(source), file_name=source)
    start = time.perf_counter()
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
    }
    return noted, body


def _model(models: Models, name: str) -> Loaded:
    name = name or next(iter(models))
    if name not in models:
        raise UnknownModel(f"there is no model {name!r} here; there are {', '.join(models)}")
    return models[name]


def _with_options(loaded: HumanParser, head: Mapping[str, Any]) -> HumanParser:
    """The parser with the request's options; it shares the model that is loaded."""
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
    """What the results of a file are called: its path without ending, in one piece."""
    return str(PurePosixPath(source).with_suffix("")).replace("/", "_")


def _body(parsing: Parsing, head: Mapping[str, Any]) -> tuple[str, bytes]:
    """Media type and bytes of the form that was asked for."""
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


def _picture(parsing: Parsing, style: str, palette: str, encoding: str) -> bytes:
    """The picture of /predict, in the photo's size."""
    if style == "cutout":
        return formats.encode_picture(render.cutout(parsing, crop=False), encoding)
    if style == "outlines":
        return formats.encode_picture(render.outlines(parsing), encoding)
    draw = {
        "colormap": render.colormap,
        "overlay": lambda *args, **kw: render.overlay(*args, legend=False, **kw),
    }[style]
    return formats.encode_picture(draw(parsing, palette=palette), encoding)


def _answer(parsing: Parsing, include: Sequence[str], palette: str) -> bytes:
    """The JSON of /parse: what clients of the older service read, and people with their parts."""
    data = formats.to_dict(parsing, masks="rle" in include, polygons="polygons" in include)
    found = formats.labelled_regions(parsing)
    answer = {
        "success": True,
        "labels": [label for label, _ in found],
        "scores": [round(float(region.score), 4) for _, region in found],
        "result_image": _base64_png(render.colormap(parsing, palette=palette)),
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
        answer["overlay"] = _base64_png(render.overlay(parsing, palette=palette, legend=False))
    if "colormap" in include:
        answer["colormap"] = answer["result_image"]
    if "labels" in include:
        answer["label_map"] = _base64_png(formats.labels_image(parsing, palette))
        answer["person_map"] = _base64_png(formats.people_image(parsing))
    return json.dumps(answer, separators=(",", ":")).encode()


def _base64_png(picture: Image.Image) -> str:
    return base64.b64encode(formats.encode_picture(picture, "png")).decode()
