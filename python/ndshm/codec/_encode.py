from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import error
from ._document import reference, write_document
from ._dtypes import KNOWN, little_endian
from ._object_format import lay_out
from ._tree import Instance, Tree


@dataclasses.dataclass(frozen=True)
class Encoded:
    """An object's bytes, but for the bulk of them: arrays are left where they are."""

    # Of the whole object.
    byte_length: int
    # What lies at its beginning.
    head: bytes
    # What lies where behind it, in ascending order: views on the caller's memory. What is between them means nothing.
    buffers: list[tuple[int, memoryview]]


def encode(value: Any, instance: Instance | None = None) -> Encoded:
    """The bytes of a value as an object, in parts: the bytes of arrays are views on the caller's memory.

    Takes, and is in JavaScript:

    - None, bool, float, str, list and tuple: null, boolean, number, string, list. int: a number, beyond 2**53 a bigint.
    - dict: an object; a Map, where there are keys other than str. set and frozenset: a Set.
    - numpy arrays, complex numbers, memoryviews: a SharedArray. numpy's other scalars: a number or boolean.
    - bytes: a Buffer. bytearray: an ArrayBuffer. A table of pyarrow: one of apache-arrow.
    - datetime with a time zone and numpy.datetime64: a Date. Exceptions: an Error. `RegExp`.

    What is in several places is so on the other side, and may go in circles. Does not block. `instance` gives the
    special for a value of another kind, which whoever reads it has to know, or None.

    Errors: ERR_NDSHM_INVALID_ARGUMENT, with the path to what it does not take; ERR_NDSHM_OUT_OF_RANGE for more than
    4 GiB beside the arrays.

    >>> import numpy as np
    >>> from ndshm.codec import encode
    >>> [(offset, len(view)) for offset, view in encode({"n": 1, "x": np.array([0.5])}).buffers]
    [(64, 8)]
    """
    tree = Tree(value, instance)
    byte_length, head, offsets = lay_out(write_document(tree.document), [len(view) for view in tree.buffers])
    return Encoded(byte_length, head, list(zip(offsets, tree.buffers)))


def encode_array(dtype: Any, shape: Sequence[int], order: str = "C") -> Encoded:
    """The bytes around an array that is there already, or will be: where in the object it has to lie.

    Its one buffer is empty: the array's place is from the buffer's offset to the object's end.
    """
    written = little_endian(np.dtype(dtype))
    if written is None:
        raise error("ERR_NDSHM_DTYPE", f"Expected one of {KNOWN} but received dtype {dtype}")
    length = written.itemsize
    for each in shape:
        length *= each
    document = write_document([reference(0), ["ndarray", written.str, list(shape), order, 0]])
    byte_length, head, offsets = lay_out(document, [length])
    return Encoded(byte_length, head, [(offsets[0], memoryview(b""))])


def to_bytes(value: Any, instance: Instance | None = None) -> bytes:
    """The bytes of a value as an object: `encode()` in one piece. A copy.

    Errors: those of `encode()`.

    >>> from ndshm.codec import to_bytes
    >>> to_bytes([1, 2])[:4]
    b'NDOB'
    """
    encoded = encode(value, instance)
    parts: list[bytes | memoryview] = [encoded.head]
    end = len(encoded.head)
    for offset, view in encoded.buffers:
        parts += [bytes(offset - end), view]
        end = offset + len(view)
    return b"".join(parts)
