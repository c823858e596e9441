"""The specials that show a buffer of the object: its number is their last part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrow import bytes_to_table
from ._dtypes import dtype_of_descr
from ._object_format import Place, corrupt

_MAX_DIMENSIONS = 64

_TYPED_ARRAYS: dict[str, np.dtype[Any]] = {
    "Int8Array": np.dtype("<i1"),
    "Uint8Array": np.dtype("<u1"),
    "Uint8ClampedArray": np.dtype("<u1"),
    "Int16Array": np.dtype("<i2"),
    "Uint16Array": np.dtype("<u2"),
    "Int32Array": np.dtype("<i4"),
    "Uint32Array": np.dtype("<u4"),
    "BigInt64Array": np.dtype("<i8"),
    "BigUint64Array": np.dtype("<u8"),
    "Float16Array": np.dtype("<f2"),
    "Float32Array": np.dtype("<f4"),
    "Float64Array": np.dtype("<f8"),
    "DataView": np.dtype("<u1"),
}


class Buffers:
    def __init__(self, data: memoryview, places: Sequence[Place]) -> None:
        self._data = data
        self._places = places
        self._allowance = len(data)

    def make(self, special: list) -> Any:
        tag, number = special[0], special[-1]
        if type(number) is not int or not 0 <= number < len(self._places):
            raise corrupt("it has a special of an unknown kind, or of no buffer")
        offset, length = self._places[number]
        buffer = self._data[offset : offset + length]
        dtype = _TYPED_ARRAYS.get(tag)
        if dtype is not None:
            if length % dtype.itemsize != 0:
                raise corrupt("a buffer in it is not a whole number of elements")
            return np.frombuffer(buffer, dtype)
        if tag == "ndarray":
            return _array(special, buffer)
        if tag == "Buffer":
            return bytes(self._once(buffer))
        if tag == "ArrayBuffer":
            return bytearray(self._once(buffer))
        if tag == "Arrow":
            return bytes_to_table(self._once(buffer))
        raise corrupt("it has a special of an unknown kind")

    def _once(self, buffer: memoryview) -> memoryview:
        """That an object names one buffer a thousand times is not believed, where each time takes room for it."""
        self._allowance -= len(buffer)
        if self._allowance < 0:
            raise corrupt("several copies in it are of one buffer")
        return buffer


def _array(special: list, buffer: memoryview) -> np.ndarray:
    if len(special) != 5:
        raise corrupt("it has a malformed array")
    _, descr, shape, order, _ = special
    dtype = dtype_of_descr(descr)
    if dtype is None or order not in ("C", "F") or type(shape) is not list or len(shape) > _MAX_DIMENSIONS:
        raise corrupt("it has a malformed array")
    if any(type(length) is not int or length < 0 for length in shape):
        raise corrupt("it has a malformed array")
    if math.prod(shape) * dtype.itemsize != len(buffer):
        raise corrupt("an array in it does not fill its buffer")
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)
