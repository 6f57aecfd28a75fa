"""What callers give, checked: whatever has the wrong type or lies outside of its range is refused
in one way."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any

from humanparse.errors import OptionError


def whole_number(name: str, value: Any, least: int, hint: str = "") -> int:
    """Return the value as an int. hint: what else to do, for the message.

    Raises OptionError for what is no whole number (text is none, either), or less than `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise OptionError(f"{name} is {value!r}; give a whole number of at least {least}{hint}")
    return number


def number_between(
    name: str, value: Any, least: float, most: float = sys.float_info.max, hint: str = ""
) -> float:
    """Return the value as a float. hint: what it means, for the message.

    Raises OptionError for what is no number, or outside of its range; infinity is outside of any.
    """
    if not is_number(value) or not least <= value <= most:
        limits = (
            f"from {least:g} on" if most == sys.float_info.max else f"from {least:g} to {most:g}"
        )
        raise OptionError(f"{name} is {value!r}; give a number {limits}{hint}")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether it is one, of Python's or NumPy's; text and truth values are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def one_or_more(name: str, value: Any) -> list:
    """Return the values of a list, or a single one, text or number, as a list of one.

    Raises OptionError for what is neither.
    """
    if isinstance(value, str) or is_number(value):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return list(value)
    raise OptionError(f"{name} is {value!r}; give one, or a list of them")


def folder_path(name: str, value: Any) -> Path:
    """Return the path of a folder. Raises OptionError for what cannot be one."""
    if isinstance(value, str | os.PathLike) and "\0" not in os.fsdecode(value):
        return Path(os.fsdecode(value))
    raise OptionError(f"{name} is {value!r}; give the path of a folder")


def yes_or_no(name: str, value: Any) -> bool:
    """Return the value. Raises OptionError for anything but True and False: "no" would count as
    yes."""
    if value is True or value is False:
        return value
    raise OptionError(f"{name} is {value!r}; give True or False")
