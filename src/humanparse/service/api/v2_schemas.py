"""The bodies of /v2 in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from humanparse.service import schemas
from humanparse.service.api.v2_requests import INPUT, OUTPUTS
from humanparse.service.problems import KINDS


class Tensor(BaseModel):
    """A tensor, without its values if these follow as bytes."""

    name: str
    datatype: str
    shape: list[int]


class OutputTensor(Tensor):
    """A tensor of a response."""

    data: Annotated[list[Any] | None, Field(description="Row by row, all in one list.")] = None
    parameters: dict[str, Any] | None = None


class InferResponse(BaseModel):
    """The outputs, in the order in which they were requested."""

    model_name: str
    model_version: str
    id: Annotated[str | None, Field(description="As in the request, if it had one.")] = None
    outputs: list[OutputTensor]


class ServerMetadataResponse(BaseModel):
    """The server and its extensions of the protocol."""

    name: str
    version: str
    extensions: list[str]


class ServerLiveResponse(BaseModel):
    """Whether the server is alive."""

    live: bool


class ServerReadyResponse(BaseModel):
    """Whether the service can parse pictures."""

    ready: bool


class ModelReadyResponse(BaseModel):
    """Whether a model can parse pictures."""

    name: str
    ready: bool


class ModelMetadataResponse(BaseModel):
    """The inputs and outputs of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class InferenceError(BaseModel):
    """Every error below /v2."""

    error: Annotated[str, Field(description="What arrived, what was expected and what to do.")]
    code: Annotated[
        str,
        Field(description="A stable code for programs.", json_schema_extra={"enum": sorted(KINDS)}),
    ]
    retryable: Annotated[bool, Field(description="Whether the same request may work later.")]
    request_id: str = ""


def error_responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the same as schemas.problem_responses, in the protocol's shape.

    Args:
        *codes: The codes of the problems that the endpoint may respond with.
    """
    found = schemas.problem_responses(*codes)
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/InferenceError"}}}
    return {
        status: {"description": one["description"], "content": content}
        for status, one in found.items()
    }


_FILE = {"schema": {"type": "string", "format": "binary"}}
BINARY_RESPONSE: dict[str, Any] = {
    "description": "The outputs, followed by binary data if any was requested",
    "content": {"application/octet-stream": _FILE},
}
_PARAMETERS = {
    "type": "object",
    "properties": {
        "min_score": {"type": "number", "minimum": 0, "maximum": 1},
        "max_side": {"type": "integer", "minimum": 64},
        "binary_data_output": {"type": "boolean"},
    },
    "additionalProperties": False,
}
_INPUT = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string", "enum": [INPUT]},
        "datatype": {"type": "string", "enum": ["BYTES", "UINT8"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        "data": {"type": "array", "items": {}},
        "parameters": {"type": "object"},
    },
}
_OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "enum": list(OUTPUTS)},
        "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": _PARAMETERS,
        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": _INPUT},
        "outputs": {"type": "array", "items": _OUTPUT},
    },
}
INFER_REQUEST: dict[str, Any] = {
    "parameters": [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "required": False,
            "schema": {"type": "integer", "minimum": 0},
            "description": "Length of the JSON in bytes, if binary data follows it; "
            "0 if the body is the picture's file.",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _REQUEST}, "application/octet-stream": _FILE},
    },
}
