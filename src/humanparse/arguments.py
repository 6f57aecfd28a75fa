"""Checks of arguments: a wrong type or a value out of range is always refused in the same way."""

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
    """Return the value as an int.

    Args:
        name: What the argument is called, for the message.
        value: What was given.
        least: The smallest value that is accepted.
        hint: What else may be given, for the end of the message.

    Raises:
        OptionError: If it is not a whole number (text never is), or less than `least`.
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
    """Return the value as a float.

    Args:
        name: What the argument is called, for the message.
        value: What was given.
        least: The smallest value that is accepted.
        most: The largest one. Infinity is never accepted.
        hint: What the number means, for the end of the message.

    Raises:
        OptionError: If it is not a number, or out of range.
    """
    if not is_number(value) or not least <= value <= most:
        limits = (
            f"of at least {least:g}"
            if most == sys.float_info.max
            else f"from {least:g} to {most:g}"
        )
        raise OptionError(f"{name} is {value!r}; give a number {limits}{hint}")
    return float(value)


def is_number(value: Any) -> bool:
    """Return whether the value is a number of Python's or NumPy's; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def one_or_more(name: str, value: Any) -> list:
    """Return the values of a list, or a single text or number as a list of one.

    Args:
        name: What the argument is called, for the message.
        value: What was given.

    Raises:
        OptionError: If it is neither.
    """
    if isinstance(value, str) or is_number(value):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return list(value)
    raise OptionError(f"{name} is {value!r}; give one value, or a list of them")


def folder_path(name: str, value: Any) -> Path:
    """Return the value as the path of a folder, which need not exist.

    Args:
        name: What the argument is called, for the message.
        value: What was given.

    Raises:
        OptionError: If it cannot be a path.
    """
    if isinstance(value, str | os.PathLike) and "\0" not in os.fsdecode(value):
        return Path(os.fsdecode(value))
    raise OptionError(f"{name} is {value!r}; give the path of a folder")


def yes_or_no(name: str, value: Any) -> bool:
    """Return the value, which must be True or False: the text "no" would count as true.

    Args:
        name: What the argument is called, for the message.
        value: What was given.

    Raises:
        OptionError: If it is anything else.
    """
    if value is True or value is False:
        return value
    raise OptionError(f"{name} is {value!r}; give True or False")
