"""One cached response as bytes.

The checksum covers everything including the key, so that swapped files are detected.

    magic 8 | sha256 of all that follows 32 | key 32 | created 8 (float) | length of head 4 |
    length of body 8 | head | body
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from humanparse import __version__

FORMAT = 1  # raise it when responses or entries change but the package's version does not
MAGIC = b"HPCache\x01"
KEY = re.compile(r"[0-9a-f]{64}")
_SUM_END = len(MAGIC) + 32
_LENGTHS = struct.Struct(">dIQ")
PREFIX = _SUM_END + 32 + _LENGTHS.size  # bytes before the head


@dataclass(frozen=True)
class Cached:
    """A cached response.

    Attributes:
        head: What the worker reported about it, in plain JSON values.
        body: The finished body.
        tier: Where it was found.
    """

    head: dict[str, Any]
    body: bytes
    tier: str = ""


class Damaged(ValueError):
    """Bytes that are not the entry that they should be."""


def cache_key(digest: str, model: str, model_sha256: str, options: Mapping[str, Any]) -> str:
    """Return the name of a response: the SHA-256, in hex, of everything that it depends on.

    Args:
        digest: The SHA-256 of the picture.
        model: The model's name.
        model_sha256: The SHA-256 of the model's file.
        options: The request's options.

    Returns:
        64 hex digits. Our version is part of the key, too.
    """
    parts = [FORMAT, __version__, digest, model, model_sha256, options]
    return hashlib.sha256(
        json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def encode(key: str, cached: Cached, created: float) -> bytes:
    """Return an entry as bytes. created: in seconds, on the clock of whoever keeps the entry."""
    head = json.dumps(cached.head, separators=(",", ":")).encode()
    rest = b"".join(
        (bytes.fromhex(key), _LENGTHS.pack(created, len(head), len(cached.body)), head, cached.body)
    )
    return MAGIC + hashlib.sha256(rest).digest() + rest


def decode(key: str, data: bytes) -> tuple[Cached, float]:
    """Return the entry with this key, and when it was created.

    Raises:
        Damaged: For anything that `encode` did not write for this key.
    """
    if len(data) < PREFIX or data[: len(MAGIC)] != MAGIC:
        raise Damaged("not an entry")
    if hashlib.sha256(memoryview(data)[_SUM_END:]).digest() != data[len(MAGIC) : _SUM_END]:
        raise Damaged("the checksum differs")
    if data[_SUM_END : _SUM_END + 32] != bytes.fromhex(key):
        raise Damaged("the entry of another key")
    created, len_head, len_body = _LENGTHS.unpack_from(data, _SUM_END + 32)
    if len(data) != PREFIX + len_head + len_body or not math.isfinite(created):
        raise Damaged("the lengths contradict each other")
    try:
        head = json.loads(data[PREFIX : PREFIX + len_head])
    except (ValueError, RecursionError) as error:
        raise Damaged("the head is not JSON") from error
    if not isinstance(head, dict):
        raise Damaged("the head is not an object")
    return Cached(head, data[PREFIX + len_head :]), created


def created_of(prefix: bytes) -> float | None:
    """Return when an entry was created, from its first PREFIX bytes.

    None if they are not those of an entry; the checksum is not checked.
    """
    if len(prefix) < PREFIX or prefix[: len(MAGIC)] != MAGIC:
        return None
    created = _LENGTHS.unpack_from(prefix, _SUM_END + 32)[0]
    return created if math.isfinite(created) else None
