"""Hugging Face's inference API for image segmentation.

    uvicorn --factory humanparse.contrib.huggingface:create_app --port 8001

A photo's bytes are posted, and a list of {"label", "score", "mask"} comes back, whose masks are
greyscale PNG files in base64: parts first, then people, who are called "Human".

Source: https://huggingface.co/docs/inference-providers/tasks/image-segmentation. Of its parameters,
`threshold` (the lowest score, 0 to 1) is applied.
"""

from __future__ import annotations

import base64
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from humanparse.arguments import number_between
from humanparse.contrib.web import MAX_BODY_MB, Threads, application, decoded, json_object
from humanparse.formats import encode_picture, to_huggingface
from humanparse.parser import HumanParser


def create_app(parser: HumanParser | None = None, *, max_body_mb: float = MAX_BODY_MB) -> Starlette:
    """Return the application.

    Args:
        parser: What parses; None for the model in the package.
        max_body_mb: The largest body that is read, in MB (1 000 000 bytes).
    """
    parser, threads = parser or HumanParser(), Threads()

    async def infer(request: Request) -> Response:
        data, threshold = await _asked(request)
        return JSONResponse(await threads.run(lambda: segments(parser, data, threshold)))

    routes = [
        Route("/", infer, methods=["POST"]),
        Route("/models/{model:path}", infer, methods=["POST"]),  # as the hub's own address has it
    ]
    return application(routes, max_body_mb=max_body_mb)


def segments(parser: HumanParser, data: bytes, threshold: float = 0.0) -> list[dict[str, Any]]:
    """Return the parts and people of a photo in the inference API's form.

    Args:
        parser: What parses.
        data: The photo's file.
        threshold: The lowest score that is returned, 0 to 1.

    Returns:
        {"label", "score", "mask"} for each; the mask is a PNG file in base64.

    Raises:
        ImageError: The photo cannot be read.
    """
    return [
        one | {"mask": base64.b64encode(encode_picture(one["mask"], "png")).decode()}
        for one in to_huggingface(parser.parse(data))
        if one["score"] >= threshold
    ]


async def _asked(request: Request) -> tuple[bytes, float]:
    """The photo's bytes and the lowest score, of either form of the API's body."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return await request.body(), 0.0
    body = await json_object(request)
    inputs, parameters = body.get("inputs"), body.get("parameters") or {}
    if not isinstance(inputs, str) or not isinstance(parameters, dict):
        raise HTTPException(
            400, 'send the photo\'s bytes, or {"inputs": "its base64", "parameters": {}}'
        )
    threshold = parameters.get("threshold")
    lowest = 0.0 if threshold is None else number_between("threshold", threshold, 0, 1)
    return decoded(inputs, "inputs"), lowest
