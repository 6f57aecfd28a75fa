"""humanparse: every person in a photo, with their body parts and garments, pixel by pixel.

from humanparse import HumanParser

result = HumanParser().parse("street.jpg")
result.people[0].parts["Left-arm"].mask.area
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from humanparse.system.quiet import keep_quiet

if TYPE_CHECKING:
    from humanparse import errors
    from humanparse.masks import Mask
    from humanparse.parser import HumanParser
    from humanparse.result import ParseFailure, Parsing, Part, Person

__version__ = "0.1.0"
__all__ = [
    "HumanParser",
    "Mask",
    "ParseFailure",
    "Parsing",
    "Part",
    "Person",
    "__version__",
    "errors",
]

keep_quiet()

_HOMES = {
    "HumanParser": "humanparse.parser",
    "Mask": "humanparse.masks",
    "ParseFailure": "humanparse.result",
    "Parsing": "humanparse.result",
    "Part": "humanparse.result",
    "Person": "humanparse.result",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: importing humanparse alone costs next to nothing.

    Raises:
        AttributeError: For any other name.
    """
    if name == "errors":
        return import_module("humanparse.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'humanparse' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
