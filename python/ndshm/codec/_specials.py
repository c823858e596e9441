"""What a document's specials are in Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Callable

from ..errors import Error
from ._buffers import Buffers
from ._dates import date_of
from ._document import Reference, resolve
from ._foreign import ERROR_NAMES, RegExp, RemoteError
from ._object_format import corrupt

_HEXADECIMAL = re.compile(r"-?0x[0-9a-f]+")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


class Specials:
    """First all of them are made, containers empty; then each is put where it belongs; only then containers are filled:
    they may be in each other.
    """

    def __init__(self, document: list, buffers: Buffers, instance: Callable[[list], Any] | None = None) -> None:
        self._instance = instance
        self._holder = document
        self._specials = document[1:]
        self._buffers = buffers
        self._values: list = []

    def root(self) -> Any:
        for special in self._specials:
            if type(special) is not list or not special or type(special[0]) is not str:
                raise corrupt("a special is not a list that begins with its tag")
            self._values.append(self._make(special))
        # Now that the values of all that could be a key are there.
        for n, special in enumerate(self._specials):
            if special[0] == "Map":
                self._values[n] = {} if self._are_keys(special[1::2]) else []
            elif special[0] == "Set":
                self._values[n] = set() if self._are_keys(special[1:]) else []
        resolve(self._holder, self._value_of)
        for special, value in zip(self._specials, self._values):
            _fill(value, special)
        return self._holder[0]

    def _value_of(self, reference: Reference) -> Any:
        if reference >= len(self._values):
            raise corrupt(f"it has no special {int(reference)}, or not yet where one is needed")
        return self._values[reference]

    def _scalar(self, part: Any) -> Any:
        """A part of a special that is not a container; where it is a special itself, it is one before this one."""
        return self._value_of(part) if type(part) is Reference else part

    def _text(self, part: Any) -> str:
        text = self._scalar(part)
        if type(text) is not str:
            raise _malformed()
        return text

    def _text_or_none(self, part: Any) -> str | None:
        return None if part is None else self._text(part)

    def _are_keys(self, parts: list) -> bool:
        """Whether they can be keys in Python, and different ones: there, 1 and True are the same."""
        try:
            return len({self._scalar(part) for part in parts}) == len(parts)
        except TypeError:
            return False

    def _make(self, special: list) -> Any:
        tag, *parts = special
        make = _MAKERS.get(tag)
        if make is None:
            special_value = None if self._instance is None else self._instance(special)
            return self._buffers.make(special) if special_value is None else special_value
        try:
            return make(self, *parts)
        except TypeError as cause:  # it has too few parts, or too many
            raise _malformed() from cause

    def _big_int(self, part: Any) -> int:
        text = self._text(part)
        if _HEXADECIMAL.fullmatch(text) is None:
            raise _malformed()
        return int(text, 16)

    def _utf16(self, part: Any) -> str:
        if type(part) is not bytes:
            raise _malformed()
        return part.decode("utf-16-le", "surrogatepass")

    def _date(self, ms: Any) -> Any:
        return date_of(ms)

    def _boxed(self, part: Any) -> Any:
        primitive = self._scalar(part)
        if type(primitive) not in (bool, int, float, str):
            raise _malformed()
        return primitive

    def _regexp(self, source: Any, flags: Any) -> RegExp:
        return RegExp(self._text(source), self._text(flags))

    def _error(self, name: Any, message: Any, stack: Any, _cause: Any = None) -> RemoteError:
        if type(name) is not str or name not in ERROR_NAMES:
            raise _malformed()
        return RemoteError(name, self._text_or_none(message), self._text_or_none(stack))

    def _array(self, length: Any, *entries: Any) -> Any:
        """Where a list would take much more room than its elements, or could not have them all, a dict of them."""
        if type(length) is not int or not 0 <= length < 2**32:
            raise _malformed()
        is_list = length <= 16 * (2 + len(entries)) and all(
            type(key) is str and _INDEX.fullmatch(key) is not None and int(key) < length for key in entries[::2]
        )
        return [None] * length if is_list else {}

    def _entries(self, *_entries: Any) -> dict:
        return {}

    def _list(self, part: Any) -> list:
        if type(part) is not list:
            raise _malformed()
        return part

    def _object(self, part: Any) -> dict:
        if type(part) is not dict:
            raise _malformed()
        return part

    def _undefined(self) -> None:
        return None

    def _negative_zero(self) -> float:
        return -0.0

    def _unmade(self, *_parts: Any) -> Any:
        """Stands for one that will be made, and cannot be a key."""
        return []


_MAKERS: dict[str, Callable[..., Any]] = {
    "undefined": Specials._undefined,
    "-0": Specials._negative_zero,
    "BigInt": Specials._big_int,
    "UTF16": Specials._utf16,
    "Date": Specials._date,
    "RegExp": Specials._regexp,
    "Boxed": Specials._boxed,
    "Error": Specials._error,
    "Map": Specials._unmade,
    "Set": Specials._unmade,
    "Array": Specials._array,
    "Entries": Specials._entries,
    "List": Specials._list,
    "Object": Specials._object,
}


def _fill(value: Any, special: list) -> None:
    tag = special[0]
    if tag == "Map":
        for key, each in _pairs(special, 1):
            if type(value) is dict:
                value[key] = each
            else:
                value.append((key, each))
    elif tag == "Set":
        value.update(special[1:]) if type(value) is set else value.extend(special[1:])
    elif tag == "Entries":
        for key, each in _pairs(special, 1):
            if type(key) is not str:
                raise _malformed()
            value[key] = each
    elif tag == "Array":
        for key, each in _pairs(special, 2):
            if type(key) is not str:
                raise _malformed()
            value[int(key) if _INDEX.fullmatch(key) else key] = each
    elif tag == "Error" and len(special) > 4:
        value.cause = special[4]


def _pairs(special: list, first: int) -> Iterator[tuple[Any, Any]]:
    if (len(special) - first) % 2 != 0:
        raise _malformed()
    return zip(special[first::2], special[first + 1 :: 2])


def _malformed() -> Error:
    return corrupt("it has a malformed special")
