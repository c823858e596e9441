"""Checks of arguments."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

from . import errors

MODES = ("r", "r+", "c")
"""numpy's memmap modes, in the order of the core's numbers, which begin with 1."""

_name_pattern = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,249}\Z")


def check_name(name: object) -> str:
    """A segment name: 1 to 250 bytes of [A-Za-z0-9._-], not starting with a dot."""
    if not isinstance(name, str):
        raise errors.wrong_kind("a string", "the segment name", name)
    if _name_pattern.match(name) is None:
        raise errors.error(
            "ERR_NDSHM_INVALID_NAME",
            "Expected 1 to 250 characters of A-Z a-z 0-9 . _ - for the segment name, not starting with a dot, but "
            f"received {name[:300]!r}",
        )
    return name


def one_of(value: object, choices: Sequence[str], what: str) -> str:
    if isinstance(value, str) and value in choices:
        return value
    expected = " or ".join(repr(choice) for choice in choices)
    if not isinstance(value, str):
        raise errors.wrong_kind(expected, what, value)
    raise errors.InvalidValue(f"Expected {expected} for {what} but received {value!r}")


def boolean_option(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise errors.wrong_kind("True or False", what, value)
    return value


def integer_in(value: object, low: int, high: int, what: str) -> int:
    """A whole number in [low, high]."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise errors.wrong_kind("a whole number", what, value) from None
    if not low <= number <= high:
        raise errors.InvalidValue(f"Expected a whole number from {low} to {high} for {what} but received {number}")
    return number


def check_timeout(timeout: object) -> float | None:
    """Seconds; None = for ever."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise errors.wrong_kind("a number of seconds or None", "timeout", timeout)
    if not timeout >= 0:
        raise errors.InvalidValue(f"Expected 0 or more seconds for timeout but received {timeout}")
    return float(timeout)
