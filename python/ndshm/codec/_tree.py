"""A value as a tree that msgpack can say, with the bytes of its arrays beside it."""

from __future__ import annotations

import traceback
from datetime import datetime
from typing import Any, Callable, Literal

import msgpack
import numpy as np

from ..errors import Error, error
from . import _arrow
from ._dates import ms_of
from ._document import reference
from ._dtypes import KNOWN, little_endian
from ._foreign import ERROR_NAMES, RegExp, RemoteError

# Containers within containers, at most; deeper ones are specials.
_MAX_DEPTH = 32
# Larger ones are bigints.
_MAX_NUMBER = 2**53 - 1


# The special that stands for a value which its user knows better, or None.
Instance = Callable[[Any], "list | None"]


class _Open:
    """A container of the value, which is filled when all that was met before it has been."""

    __slots__ = ("at", "depth", "fill", "part", "ref", "source", "within")

    def __init__(self, source: Any, part: Any, fill: Callable[[_Open], None], within: _Open | None, at: Any) -> None:
        self.source = source
        self.part = part
        self.fill = fill
        # Where it was met first: in which container, and where in its part.
        self.within = within
        self.at = at
        # Of its part, counted from the root or a special.
        self.depth = 1
        # The special that it is; None = it lies in the part of what it was met in.
        self.ref: msgpack.ExtType | None = None


class Tree:
    """The way through one value, without recursion: it may be nested to any depth."""

    def __init__(self, value: Any, instance: Instance | None = None) -> None:
        self._instance = instance
        # The root, and the specials.
        self.document: list[Any] = [None]
        self.buffers: list[memoryview] = []
        # By id, with what keeps the id from being given again.
        self._seen: dict[int, tuple[Any, _Open | msgpack.ExtType]] = {}
        self._open: list[_Open] = []
        self.document[0] = self._part(value, None, 0)
        while self._open:
            container = self._open.pop()
            container.fill(container)

    def _part(self, value: Any, within: _Open | None, at: Any) -> Any:
        """What stands in the tree for a value that was met there."""
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is int:
            return self._int(value)
        if value is None or kind is bool or kind is float:
            return value
        if kind is tuple and not value:
            return []  # there is but one in Python, which nobody thinks of as shared
        seen = self._seen.get(id(value))
        if seen is not None:
            return self._hoist(seen[1]) if isinstance(seen[1], _Open) else seen[1]
        if isinstance(value, dict):
            return self._dict(value, within, at)
        if isinstance(value, (list, tuple)):
            return self._nest(_Open(value, [], self._fill_list, within, at))
        if isinstance(value, (set, frozenset)):
            return self._nest_special(_Open(value, ["Set"], self._fill_set, within, at))
        if isinstance(value, BaseException):
            return self._nest_special(_Open(value, self._error(value), self._fill_error, within, at))
        return self._leaf(value, within, at)

    def _leaf(self, value: Any, within: _Open | None, at: Any) -> Any:
        """Of a value without others in it."""
        if isinstance(value, (np.bool_, np.integer, np.floating)) and not isinstance(value, np.timedelta64):
            item = value.item()
            if type(item) in (bool, int, float):  # else it is longer than a float
                return self._int(item) if type(item) is int else item
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if isinstance(value, int):
            return self._int(int(value))
        if isinstance(value, float):
            return float(value)
        ref = self._special(self._special_of(value, within, at))
        self._seen[id(value)] = (value, ref)
        return ref

    def _special_of(self, value: Any, within: _Open | None, at: Any) -> list:
        if self._instance is not None:
            special = self._instance(value)
            if special is not None:
                return special
        if isinstance(value, bytes):
            return ["Buffer", self._buffer(memoryview(value))]
        if isinstance(value, bytearray):
            return ["ArrayBuffer", self._buffer(memoryview(value))]
        if isinstance(value, (datetime, np.datetime64)):
            if value != value:
                return ["Date", None]  # NaT: that of pandas is a datetime, too
            if isinstance(value, datetime) and value.utcoffset() is None:
                raise _refused("is a datetime without a time zone: its astimezone() has this machine's", within, at)
            return ["Date", ms_of(value)]
        if isinstance(value, RegExp):
            return ["RegExp", self._text(value.source), self._text(value.flags)]
        if _arrow.is_table(value):
            return ["Arrow", self._buffer(_arrow.table_to_bytes(value))]
        if isinstance(value, (np.ndarray, np.generic, complex, memoryview)):
            return self._array(value, within, at)
        raise _refused(f"is a {type(value).__name__}", within, at)

    def _array(self, value: Any, within: _Open | None, at: Any) -> list:
        if isinstance(value, np.ma.MaskedArray):
            raise _refused("is a masked array: its filled() is an array", within, at)
        try:
            array = np.asarray(value)
        except (TypeError, ValueError) as cause:
            raise _refused(f"is a {type(value).__name__} of what is no number", within, at) from cause
        dtype = little_endian(array.dtype)
        if dtype is None:
            raise _refused(f"is an array of dtype {array.dtype}, which is none of {KNOWN}", within, at)
        order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        # A copy only where the elements do not lie together, or have their bytes the other way round.
        array = np.asarray(array, dtype, order=order)
        flat = array.reshape(-1, order=order).view(np.ndarray).view(np.uint8)
        return ["ndarray", dtype.str, list(array.shape), order, self._buffer(memoryview(flat))]

    def _error(self, value: BaseException) -> list:
        if isinstance(value, RemoteError):
            name = value.name if value.name in ERROR_NAMES else "Error"
            return ["Error", name, self._text_or_none(value.message), self._text_or_none(value.stack)]
        name = type(value).__name__
        is_known = name in ERROR_NAMES
        stack = "".join(traceback.format_exception(type(value), value, value.__traceback__, chain=False))
        message = str(value) if is_known else f"{name}: {value}"
        return ["Error", name if is_known else "Error", self._text(message), self._text(stack)]

    def _dict(self, value: dict, within: _Open | None, at: Any) -> Any:
        if all(isinstance(key, str) for key in value):
            if "__proto__" not in value and all(map(_is_well_formed, value)):
                return self._nest(_Open(value, {}, self._fill_dict, within, at))
            return self._nest_special(_Open(value, ["Entries"], self._fill_pairs, within, at))
        return self._nest_special(_Open(value, ["Map"], self._fill_pairs, within, at))

    def _fill_dict(self, container: _Open) -> None:
        for key, each in container.source.items():
            container.part[key] = self._part(each, container, key)

    def _fill_list(self, container: _Open) -> None:
        part = container.part
        for n, each in enumerate(container.source):
            part.append(None)
            part[n] = self._part(each, container, n)

    def _fill_pairs(self, container: _Open) -> None:
        for key, each in container.source.items():
            self._append(container, key)
            self._append(container, each)

    def _fill_set(self, container: _Open) -> None:
        for each in container.source:
            self._append(container, each)

    def _fill_error(self, container: _Open) -> None:
        value = container.source
        cause = value.cause if isinstance(value, RemoteError) else value.__cause__
        if cause is not None:
            self._append(container, cause)

    def _append(self, container: _Open, value: Any) -> None:
        part = container.part
        part.append(None)
        at = len(part) - 1
        part[at] = self._part(value, container, at)

    def _nest(self, container: _Open) -> Any:
        within = container.within
        is_deep = within is not None and within.depth == _MAX_DEPTH
        container.depth = 1 if within is None or is_deep else within.depth + 1
        self._seen[id(container.source)] = (container.source, container)
        self._open.append(container)
        return self._hoist(container) if is_deep else container.part

    def _nest_special(self, container: _Open) -> msgpack.ExtType:
        container.ref = self._special(container.part)
        self._seen[id(container.source)] = (container.source, container)
        self._open.append(container)
        return container.ref

    def _hoist(self, container: _Open) -> msgpack.ExtType:
        """Makes a special of what lay in the tree: it is met again, or lies deep."""
        if container.ref is None:
            tag = "List" if type(container.part) is list else "Object"
            container.ref = self._special([tag, container.part])
            holder = self.document if container.within is None else container.within.part
            holder[container.at] = container.ref
        return container.ref

    def _special(self, special: list) -> msgpack.ExtType:
        self.document.append(special)
        return reference(len(self.document) - 2)

    def _int(self, value: int) -> Any:
        return value if -_MAX_NUMBER <= value <= _MAX_NUMBER else self._special(["BigInt", hex(value)])

    def _text(self, text: str) -> Any:
        return text if _is_well_formed(text) else self._special(["UTF16", text.encode("utf-16-le", "surrogatepass")])

    def _text_or_none(self, text: str | None) -> Any:
        return None if text is None else self._text(text)

    def _buffer(self, view: memoryview) -> int:
        """The number of a new buffer."""
        self.buffers.append(view)
        return len(self.buffers) - 1


def _is_well_formed(text: str) -> bool:
    """Whether there are no lone surrogates in it."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _step(container: _Open, at: Any) -> str:
    """From a container to what its part has there, as Python would say it."""
    source = container.source
    if isinstance(source, (list, tuple)):
        return f"[{at}]"
    if type(container.part) is dict:
        return f"[{at!r}]"
    if isinstance(source, dict):
        n, is_value = divmod(at - 1, 2)
        return f"[{list(source)[n]!r}]" if is_value else f".keys()[{n}]"
    return ".cause" if isinstance(source, BaseException) else ".elements"


def _refused(why: str, within: _Open | None, at: Any) -> Error:
    path = ""
    while within is not None:
        path = _step(within, at) + path
        at = within.at
        within = within.within
    return error(
        "ERR_NDSHM_INVALID_ARGUMENT",
        f"Expected a value of plain Python, numpy or pyarrow, but value{path} {why}",
    )
