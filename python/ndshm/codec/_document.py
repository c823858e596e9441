"""An object's document: msgpack of [root, special 0, special 1, …]."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable

import msgpack

from ._object_format import corrupt

# The extension type of a special's number: 4 bytes, little-endian.
_SPECIAL_TYPE = 1


def reference(index: int) -> msgpack.ExtType:
    """Stands for a special in a document that is written."""
    return msgpack.ExtType(_SPECIAL_TYPE, index.to_bytes(4, "little"))


def write_document(document: list) -> bytes:
    return msgpack.packb(document, use_bin_type=True)


class Reference(int):
    """Stands for a special in a document that was read: its number."""


def _reference(kind: int, number: bytes) -> Reference:
    if kind != _SPECIAL_TYPE or len(number) != 4:
        raise corrupt(f"its document has an extension of unknown type {kind}")
    return Reference.from_bytes(number, "little")


def read_document(packed: bytes) -> list[Any]:
    """The root and the specials. Takes room in proportion to the bytes, which may be anything.

    Before its version 1.2, msgpack takes room for as many elements as a list claims to have before it sees one, for
    lists within lists again and again. Skipping takes none; what can be skipped has all the elements that it claims.
    """
    skipper = msgpack.Unpacker(max_buffer_size=max(len(packed), 1))
    skipper.feed(packed)
    skipper.skip()
    if skipper.tell() != len(packed):
        raise corrupt("its document ends early")
    document = msgpack.unpackb(packed, raw=False, unicode_errors="replace", ext_hook=_reference)
    if type(document) is not list or not document:
        raise corrupt("its document is not a list, or empty")
    return document


_SCALARS = frozenset([str, int, float, bool, type(None), bytes])


def resolve(container: Any, value_of: Callable[[Reference], Any]) -> None:
    """Puts values where specials are referred to, in a list or map and all that lie in it. They may be nested deep."""
    unfinished = [container]
    while unfinished:
        part = unfinished.pop()
        if type(part) is dict:
            # msgpack lets bytes pass as keys.
            if any(type(key) is not str for key in part):
                raise corrupt("its document has a key that is no text")
            places: Iterable[tuple[Any, Any]] = part.items()
        else:
            places = enumerate(part)
        for key, each in places:
            kind = type(each)
            if kind is Reference:
                part[key] = value_of(each)
            elif kind is list or kind is dict:
                unfinished.append(each)
            elif kind not in _SCALARS:
                raise corrupt("its document has msgpack's own time")
