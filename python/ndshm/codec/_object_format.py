"""An object's bytes: a header, the table of buffers, the msgpack document, the buffers."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ..errors import Error, error

_MAGIC = b"NDOB"
_VERSION = 1
_HEADER = struct.Struct("<4sIII")
_ENTRY = struct.Struct("<QQ")
_ALIGNMENT = 64
_PAGE_BYTES = 4096
# Buffers of so many bytes begin at a page.
_PAGE_ALIGNED_FROM = 2**20

# Where a buffer begins, from the object's beginning, and its length.
Place = tuple[int, int]


def lay_out(document: bytes, lengths: Sequence[int]) -> tuple[int, bytes, list[int]]:
    """Of an object with this document: its length, its header with table and document, where its buffers begin."""
    if len(document) >= 2**32:
        raise error("ERR_NDSHM_OUT_OF_RANGE", f"The value has {len(document)} bytes beside its arrays, 4 GiB or more")
    end = _HEADER.size + _ENTRY.size * len(lengths) + len(document)
    head = [_HEADER.pack(_MAGIC, _VERSION, len(document), len(lengths))]
    offsets = []
    for length in lengths:
        offset = end + -end % (_PAGE_BYTES if length >= _PAGE_ALIGNED_FROM else _ALIGNMENT)
        head.append(_ENTRY.pack(offset, length))
        offsets.append(offset)
        end = offset + length
    return end, b"".join([*head, document]), offsets


def read_layout(data: memoryview) -> tuple[bytes, list[Place]]:
    """The document, as a copy, and where the buffers lie in these bytes, which may be anything."""
    if len(data) < _HEADER.size:
        raise corrupt("it does not begin as one")
    magic, version, document_bytes, count = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise corrupt("it does not begin as one")
    if version != _VERSION:
        raise corrupt(f"it is of version {version}, and this ndshm reads version {_VERSION}")
    document_at = _HEADER.size + _ENTRY.size * count
    document_end = document_at + document_bytes
    if document_end > len(data):
        raise corrupt("it ends before its document does")
    # Copied before it is looked at: the bytes may be shared, and change.
    places = list(_ENTRY.iter_unpack(bytes(data[_HEADER.size : document_at])))
    for n, (offset, length) in enumerate(places):
        if offset % _ALIGNMENT != 0 or offset < document_end or offset + length > len(data):
            raise corrupt(f"its buffer {n} does not lie within it")
    return bytes(data[document_at:document_end]), places


def corrupt(why: str) -> Error:
    return error("ERR_NDSHM_CORRUPT_OBJECT", f"These are not the bytes of an object: {why}")
