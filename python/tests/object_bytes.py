"""The bytes of objects, written by hand as docs/format.md says, so that they may be wrong."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgpack


def special(index: int) -> msgpack.ExtType:
    """Stands for a special in a document."""
    return msgpack.ExtType(1, struct.pack("<I", index))


def object_bytes(
    document: Sequence[Any] | bytes,
    buffers: Sequence[bytes] = (),
    *,
    magic: bytes = b"NDOB",
    version: int = 1,
    document_bytes: int | None = None,
    count: int | None = None,
    table: Sequence[tuple[int, int]] | None = None,
) -> bytes:
    """Of a root and specials, or msgpack of them. What is given by name is said instead of the truth."""
    packed = document if isinstance(document, bytes) else msgpack.packb(document)
    entries = len(buffers) if table is None else len(table)
    end = 16 + 16 * entries + len(packed)
    laid, places = b"", []
    for each in buffers:
        gap = -end % 64
        places.append((end + gap, len(each)))
        laid += bytes(gap) + each
        end += gap + len(each)
    said = len(packed) if document_bytes is None else document_bytes
    header = struct.pack("<4sIII", magic, version, said, entries if count is None else count)
    rows = b"".join(struct.pack("<QQ", *place) for place in (places if table is None else table))
    return header + rows + packed + laid
