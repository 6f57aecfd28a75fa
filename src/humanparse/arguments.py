"""Numbers that callers give: what is none, or lies outside of its range, is refused in one way."""

from __future__ import annotations

import operator
import sys
from numbers import Real
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
        limits = f"from {least:g} on" if most == sys.float_info.max else f"from {least:g} to {most:g}"
        raise OptionError(f"{name} is {value!r}; give a number {limits}{hint}")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether it is one, of Python's or NumPy's; text and truth values are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def yes_or_no(name: str, value: Any) -> bool:
    """Return the value. Raises OptionError for anything but True and False: "no" would count as yes."""
    if value is True or value is False:
        return value
    raise OptionError(f"{name} is {value!r}; give True or False")
