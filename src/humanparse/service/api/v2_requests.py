"""Reads the requests of /v2: a picture, options and the outputs that are wanted.

The one input, `image`, is BYTES [1], the file of a picture (base64 in JSON), or UINT8 [1, H, W, 3]
or [H, W, 3], its RGB pixels. Pixels become a PPM file here, so that they are handled as every other
picture: with the same limits, queue, deadline and cache.
"""

from __future__ import annotations

import asyncio
import binascii
import json
import math
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fastapi import Request

from humanparse.service.api.uploads import whole_body
from humanparse.service.problems import Problem

HEADER = "inference-header-content-length"
INPUT = "image"
OUTPUTS = {
    "labels": ("UINT8", [1, -1, -1]),
    "people": ("UINT16", [1, -1, -1]),
    "result": ("BYTES", [1]),
}
OPTIONS = ("min_score", "max_side")  # parameters of a request that have a meaning here
# parameters that clients send of their own accord
IGNORED = ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout")
# in the JSON of a request: reading more would delay the other requests; binary data is quick
MAX_JSON_VALUES = 1_000_000


@dataclass(frozen=True)
class InferenceRequest:
    """What a request asks for.

    Attributes:
        picture: The bytes of the picture's file.
        options: Options by name.
        outputs: The outputs, with the suffix ":binary" for those that are wanted as bytes.
        request_id: The id to return with the outputs.
    """

    picture: bytes
    options: Mapping[str, Any]
    outputs: tuple[str, ...]
    request_id: str = ""


async def read_request(request: Request) -> InferenceRequest:
    """Read a request's body.

    Raises:
        Problem: bad_request, bad_option, body_too_large or unsupported_media_type.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise Problem(
            "unsupported_media_type", f"the body is encoded as {coding[:20]!r}; send it unencoded"
        )
    length = request.headers.get(HEADER)
    body = await whole_body(request)
    if length is not None and not (
        length.isascii() and length.isdigit() and len(length) < 12 and int(length) <= len(body)
    ):
        raise Problem(
            "bad_request",
            f"the header {HEADER} should be the length in bytes of the JSON before the binary data",
        )
    return await asyncio.to_thread(read_inference, body, None if length is None else int(length))


def read_inference(body: bytes, num_json: int | None = None) -> InferenceRequest:
    """Read a request's body.

    Args:
        body: The whole body.
        num_json: Length in bytes of the JSON at its start, which binary data follows; None if all
            of it is JSON, 0 if all of it is the picture's file.

    Raises:
        Problem: bad_request, bad_option or body_too_large.
    """
    if num_json == 0:
        return InferenceRequest(_not_empty(body), {}, tuple(OUTPUTS))
    data, binary = _parsed(body[:num_json]), b"" if num_json is None else body[num_json:]
    parameters = _object(data.get("parameters", {}), "parameters")
    inputs = data.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Problem("bad_request", f"'inputs' should be a list of one tensor, {INPUT!r}")
    request_id = data.get("id", "")
    if not isinstance(request_id, str):
        raise Problem("bad_request", "'id' should be a string")
    unknown = [
        name for name in parameters if name not in (*OPTIONS, *IGNORED, "binary_data_output")
    ]
    if unknown:
        raise Problem(
            "bad_option",
            f"there is no parameter {unknown[0][:60]!r}; choose from {', '.join(OPTIONS)}",
        )
    options = {name: parameters[name] for name in OPTIONS if name in parameters}
    outputs = _outputs(data.get("outputs"), parameters.get("binary_data_output") is True)
    return InferenceRequest(_picture(inputs[0], binary), options, outputs, request_id)


def _parsed(text: bytes) -> dict[str, Any]:
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_JSON_VALUES:
        raise Problem(
            "body_too_large",
            f"the JSON contains more than {MAX_JSON_VALUES} values; send the picture's file, "
            "or its pixels as binary data",
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(
            "bad_request",
            f"the body is not valid JSON; if binary data follows it, set the header {HEADER}",
        ) from None
    return _object(data, "the body")


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Problem("bad_request", f"{what} should be a JSON object")
    return value


def _outputs(requested: Any, binary: bool) -> tuple[str, ...]:
    """Return which outputs are requested and how. binary: the form of those without a choice."""
    if requested is None or requested == []:
        requested = [{"name": name} for name in OUTPUTS]
    if not isinstance(requested, list) or not all(
        isinstance(one, dict) and one.get("name") in list(OUTPUTS) for one in requested
    ):
        raise Problem(
            "bad_request",
            f"'outputs' should be a list of objects whose 'name' is one of {', '.join(OUTPUTS)}",
        )
    names = [one["name"] for one in requested]
    if len(set(names)) < len(names):
        raise Problem("bad_request", "'outputs' contains one of them twice; name each once")
    wishes = [
        _object(one.get("parameters", {}), "the parameters of an output").get("binary_data", binary)
        for one in requested
    ]
    return tuple(
        f"{name}:binary" if wish is True else name for name, wish in zip(names, wishes, strict=True)
    )


def _picture(tensor: Mapping[str, Any], binary: bytes) -> bytes:
    """Return the picture's file from the one input. binary: what followed the JSON."""
    if tensor.get("name") != INPUT:
        raise Problem(
            "bad_request",
            f"the input is named {str(tensor.get('name'))[:60]!r}; it should be {INPUT!r}",
        )
    shape, kind = tensor.get("shape"), tensor.get("datatype")
    if not (
        isinstance(shape, list)
        and 1 <= len(shape) <= 4
        and all(type(side) is int and 0 < side < 2**31 for side in shape)
    ):
        raise Problem(
            "bad_request",
            "the shape of the input should be a list of one to four whole numbers above 0",
        )
    size = _object(tensor.get("parameters", {}), "the parameters of the input").get(
        "binary_data_size"
    )
    if size is not None and (type(size) is not int or size != len(binary)):
        raise Problem(
            "bad_request",
            f"binary_data_size is {str(size)[:20]}, but {len(binary)} bytes follow the JSON",
        )
    if size is None and binary:
        raise Problem(
            "bad_request", "bytes follow the JSON, but the input has no binary_data_size; set it"
        )
    if kind == "BYTES" and math.prod(shape) == 1:
        return _not_empty(
            _element(binary) if size is not None else _from_base64(tensor.get("data"))
        )
    if (
        kind == "UINT8"
        and shape[-1] == 3
        and (len(shape) == 3 or (len(shape) == 4 and shape[0] == 1))
    ):
        return _as_ppm(binary if size is not None else _numbers(tensor.get("data")), *shape[-3:-1])
    raise Problem(
        "bad_request",
        f"the input is {str(kind)[:20]} {str(shape)[:60]}; send BYTES [1] with a picture's file, "
        "or UINT8 [1, height, width, 3] with RGB pixels",
    )


def _element(data: bytes) -> bytes:
    """Return the one element of a binary BYTES tensor: its length in 4 bytes, then its data."""
    if len(data) < 4 or int.from_bytes(data[:4], "little") != len(data) - 4:
        raise Problem(
            "bad_request",
            "binary BYTES should be one element: its length in 4 bytes, then the picture's file",
        )
    return data[4:]


def _from_base64(data: Any) -> bytes:
    while isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, str):
        raise Problem(
            "bad_request",
            "'data' of BYTES should be a list of one string, the picture's file in base64",
        )
    try:
        return b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("bad_request", "'data' of BYTES is not valid base64") from None


def _numbers(data: Any) -> bytes:
    """Return pixels from lists of numbers, nested or not."""
    while isinstance(data, list) and data and isinstance(data[0], list):
        if not all(isinstance(row, list) for row in data):
            raise Problem("bad_request", "'data' mixes numbers and lists; send either")
        data = list(chain.from_iterable(data))
    try:
        if not isinstance(data, list):
            raise TypeError
        return bytes(data)
    except (TypeError, ValueError):
        raise Problem(
            "bad_request", "'data' of UINT8 should be a list of whole numbers from 0 to 255"
        ) from None


def _as_ppm(pixels: bytes, height: int, width: int) -> bytes:
    """Return RGB pixels as a PPM file, which every picture reader knows."""
    if len(pixels) != height * width * 3:
        raise Problem(
            "bad_request",
            f"{height}x{width}x3 pixels take {height * width * 3} values, "
            f"but {len(pixels)} arrived",
        )
    return b"P6\n%d %d\n255\n" % (width, height) + pixels


def _not_empty(picture: bytes) -> bytes:
    if not picture:
        raise Problem("bad_request", "the picture is empty; send the file of a picture")
    return picture
