"""The shapes of request and response bodies for the OpenAPI document, field by field."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from humanparse.service import problems
from humanparse.service.options import ANSWER, FILES, INCLUDE, PEOPLE_NAMES, PICTURES, STYLES
from humanparse.service.settings import Settings
from humanparse.vocabulary import (
    EDITS,
    MAX_EVERY,
    MAX_REGION_LENGTH,
    MAX_STRENGTH,
    MIN_SIDE,
    MIN_STRENGTH,
    PALETTES,
    PEOPLE_PATTERN,
)

Score = Annotated[float, Field(ge=0, le=1, description="How sure the model is, 0 to 1.")]
Box = Annotated[
    list[int],
    Field(
        min_length=4,
        max_length=4,
        description="x0, y0, x1, y1 in pixels; x1 and y1 are exclusive.",
    ),
]
Base64 = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]


class Rle(BaseModel):
    """A mask in COCO's compressed run-length encoding, over the whole picture."""

    size: Annotated[
        list[int], Field(min_length=2, max_length=2, description="Height and width in pixels.")
    ]
    counts: str


class Region(BaseModel):
    """The pixels of a part or person."""

    score: Score
    box: Box
    area: Annotated[int, Field(ge=0, description="Number of pixels.")]
    mask: Annotated[
        Rle | None, Field(description="Only if `include` contains rle, as it does by default.")
    ] = None
    polygons: Annotated[
        list[list[float]] | None,
        Field(
            description="Closed outlines, x, y, x, y, … in pixels; "
            "only if `include` contains polygons."
        ),
    ] = None


class ParsedPart(Region):
    """One body part or garment of one person."""

    label: str
    class_id: int


class ParsedPerson(Region):
    """One person; their parts lie inside their mask."""

    id: Annotated[int, Field(ge=1, description="1, 2, …; the value in the person map.")]
    parts: list[ParsedPart]


class ParseResponse(BaseModel):
    """The response of /parse.

    Clients of older services read `labels`, `scores` and `result_image`.
    """

    model_config = ConfigDict(title="ParseResponse")

    success: bool
    labels: Annotated[
        list[str], Field(description='Labels of all parts, then "Human" for each person.')
    ]
    scores: Annotated[list[float], Field(description="Their scores, in the same order.")]
    result_image: Annotated[
        Base64, Field(description="The label map in colour, a PNG of the photo's size, in base64.")
    ]
    people: Annotated[list[ParsedPerson], Field(description="By descending score.")]
    loose_parts: Annotated[
        list[ParsedPart], Field(description="Parts that belong to none of the people found.")
    ]
    width: int
    height: int
    model: str
    label_set: str
    classes: Annotated[
        list[str], Field(description="The name of each class; class 0 is the background.")
    ]
    palette: Annotated[list[list[int]], Field(description="Red, green, blue of each class.")]
    timings_ms: dict[str, float]
    overlay: Annotated[
        Base64 | None,
        Field(description="The photo with coloured parts, PNG; if `include` contains overlay."),
    ] = None
    colormap: Annotated[
        Base64 | None, Field(description="As result_image; if `include` contains colormap.")
    ] = None
    label_map: Annotated[
        Base64 | None,
        Field(description="PNG whose values are classes; if `include` contains labels."),
    ] = None
    person_map: Annotated[
        Base64 | None,
        Field(
            description="PNG whose values are the ids of people, 0 for none; "
            "if `include` contains labels."
        ),
    ] = None


class ProblemResponse(BaseModel):
    """Every error, as application/problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: Annotated[str, Field(description="What arrived, what was expected, what to do.")]
    instance: Annotated[str, Field(description="The path of the request.")]
    code: Annotated[
        str,
        Field(
            description="A stable word for programs.",
            json_schema_extra={"enum": sorted(problems.KINDS)},
        ),
    ]
    retryable: Annotated[bool, Field(description="Whether the same request may work later.")]
    request_id: str = ""


class BatchItem(BaseModel):
    """One picture of a batch: its result, or its problem."""

    index: Annotated[
        int, Field(ge=0, description="Position of the picture in the request, from 0.")
    ]
    result: dict[str, Any] | None = None
    problem: ProblemResponse | None = None


class BatchResponse(BaseModel):
    """The response of /v1/batch, in the order of the pictures."""

    results: list[BatchItem]


class ModelInfo(BaseModel):
    """One model that this service offers."""

    name: str
    label_set: str
    classes: list[str]
    palettes: dict[str, list[list[int]]]
    license: str
    sha256: str


class ModelsResponse(BaseModel):
    """The models; the first is used when a request names none."""

    models: list[ModelInfo]


class HealthResponse(BaseModel):
    """The server is alive."""

    status: str


class VersionResponse(BaseModel):
    """The version of the package and of the API."""

    humanparse: str
    api: str


class ReadyResponse(BaseModel):
    """The state of the service.

    `degraded` names what does not work as it should although pictures are answered.
    """

    status: str
    workers: dict[str, int]
    queued: int
    predicted_wait_s: float
    last_success_age_s: float | None
    degraded: list[str]


# Parts of the OpenAPI document that FastAPI cannot derive


def option_schemas(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each option."""
    schemas: dict[str, dict[str, Any]] = {
        "model": {
            "type": "string",
            "description": "Name of a model, see /models; the first by default.",
        },
        "format": {
            "type": "string",
            "enum": [ANSWER, *FILES],
            "description": "A file instead of the JSON answer.",
        },
        "include": {
            "type": "array",
            "items": {"type": "string", "enum": [*INCLUDE, "none"]},
            "description": "What the answer contains beside boxes and scores; rle by default.",
        },
        "min_score": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Leave out people and parts with a lower score.",
        },
        "palette": {
            "type": "string",
            "enum": list(PALETTES),
            "description": "The colours of the classes.",
        },
        "max_side": {
            "type": "integer",
            "minimum": MIN_SIDE,
            "maximum": settings.max_side,
            "description": "Longest side of the network's input in pixels; "
            "smaller is faster but less accurate.",
        },
        "style": {
            "type": "string",
            "enum": list(STYLES),
            "description": "What is drawn; colormap by default.",
        },
        "strength": {
            "type": "number",
            "minimum": MIN_STRENGTH,
            "maximum": MAX_STRENGTH,
            "description": "How much blur and pixelate hide; 1 by default.",
        },
    }
    for name in PEOPLE_NAMES:
        schemas[name] = {
            "type": "string",
            "pattern": f"^{PEOPLE_PATTERN}$",
            "description": "Numbers of the people who are edited, or of those who are not: 1,3.",
        }
    schemas["every"] = {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_EVERY,
        "description": "Parse each n-th frame of a clip only, and carry masks to those between.",
    }
    for name in EDITS:
        schemas[name] = {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": MAX_REGION_LENGTH},
            "description": f"Regions to {name}: see the page on edits.",
        }
    return schemas


def query_parameters(names: tuple[str, ...], settings: Settings) -> list[dict[str, Any]]:
    """Return the options as parameters of the query."""
    schemas = option_schemas(settings)
    spread = {"style": "form", "explode": False}
    return [
        {"name": name, "in": "query", "required": False, "schema": schemas[name]}
        | (spread if name == "include" else {})
        for name in names
    ]


def request_body(
    names: tuple[str, ...], settings: Settings, *, several: bool = False
) -> dict[str, Any]:
    """Return the ways in which pictures and options may arrive.

    Args:
        names: The options that the endpoint takes.
        settings: The service's settings.
        several: Whether the request may hold several pictures.

    Returns:
        An OpenAPI request body.
    """
    options = {name: schema for name, schema in option_schemas(settings).items() if name in names}
    file = {"type": "string", "format": "binary", "description": "The picture's file."}
    text = {
        "type": "string",
        "contentEncoding": "base64",
        "description": "The picture's file in base64.",
    }
    many = {"type": "array", "minItems": 1, "maxItems": settings.batch_max_images}
    form = {"image": {**many, "items": file} if several else file, **options}
    keys = {"images": {**many, "items": text}} if several else {"image": text}
    known = {"type": "object", "additionalProperties": False}
    content: dict[str, Any] = {
        "multipart/form-data": {"schema": {**known, "required": ["image"], "properties": form}},
        "application/json": {
            "schema": {**known, "required": list(keys), "properties": keys | options}
        },
    }
    if not several:
        content |= {
            kind: {"schema": file}
            for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
        }
    return {"required": True, "content": content}


# Of the files that /parse answers with; formats/ has each format's own.
FILE_TYPES = (
    "image/png",
    "image/svg+xml",
    "application/octet-stream",
    "application/xml",
    "application/zip",
    "text/plain",
)


def file_response() -> dict[str, Any]:
    """Return the description of /parse's responses, JSON or one of FILES."""
    file = {"schema": {"type": "string", "format": "binary"}}
    return {
        "description": "The JSON answer, or the file that `format` names",
        "content": dict.fromkeys(FILE_TYPES, file),
    }


def picture_response() -> dict[str, Any]:
    """Return the description of /predict's response."""
    picture = {"schema": {"type": "string", "format": "binary"}}
    return {
        "description": "The coloured picture",
        "content": {f"image/{one}": picture for one in PICTURES},
    }


def problem_responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the errors of an endpoint by status.

    Args:
        codes: The endpoint's codes; those that any request may meet are added.

    Returns:
        OpenAPI responses.
    """
    by_status: dict[int, list[str]] = {}
    for code in (*codes, "unauthorized", "internal_error"):
        by_status.setdefault(problems.KINDS[code].status, []).append(code)
    reference = {"schema": {"$ref": "#/components/schemas/ProblemResponse"}}
    return {
        status: {
            "description": "; ".join(f"{one}: {problems.KINDS[one].title}" for one in names),
            "content": {problems.MEDIA_TYPE: reference},
        }
        for status, names in sorted(by_status.items())
    }
