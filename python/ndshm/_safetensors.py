"""The safetensors format: the length of the header (8 bytes, little-endian), the header (JSON), the data.

Judged as the reference implementation does: the tensors fill the data without gaps or overlaps, and no key comes twice.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from . import errors

METADATA = "__metadata__"
MAX_HEADER_BYTES = 100_000_000
"""As the reference has it."""
MAX_TENSORS = 2**17
"""More than any model has."""
_MAX_DIMENSIONS = 64
_MOST = 2**53 - 1
_LENGTH_BYTES = 8
_ALIGNMENT = 64

_dtypes = {
    "BOOL": "bool",
    "I8": "int8",
    "U8": "uint8",
    "I16": "int16",
    "U16": "uint16",
    "I32": "int32",
    "U32": "uint32",
    "I64": "int64",
    "U64": "uint64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}
DTYPES = {name: np.dtype(dtype) for name, dtype in _dtypes.items()}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
_bits = {
    **{name: 8 * dtype.itemsize for name, dtype in DTYPES.items()},
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BF16": 16,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E8M0": 8,
}


class Place(NamedTuple):
    dtype: str
    """As safetensors calls it."""
    shape: tuple[int, ...]
    offset: int
    """From the file's beginning."""
    byte_length: int


def read_header(file: memoryview, who: str) -> tuple[dict[str, Place], dict[str, str]]:
    """Where the tensors of a file lie, in the order of the data, and its metadata. The bytes may be anything."""
    try:
        return _read(file)
    except _Bad as bad:
        raise errors.error("ERR_NDSHM_FORMAT", f"'{who}' is not a valid safetensors file: {bad}") from bad.__cause__


class _Bad(Exception):
    """Why a file is none."""


def _read(file: memoryview) -> tuple[dict[str, Place], dict[str, str]]:
    if len(file) < _LENGTH_BYTES:
        raise _Bad("it is shorter than 8 bytes")
    (header_bytes,) = struct.unpack_from("<Q", file)
    if header_bytes > MAX_HEADER_BYTES:
        raise _Bad(f"its header claims {header_bytes} bytes, more than 100 MB")
    data_offset = _LENGTH_BYTES + header_bytes
    if data_offset > len(file):
        raise _Bad("it ends before its header does")
    header = _parse(bytes(file[_LENGTH_BYTES:data_offset]))
    metadata = _metadata(header.pop(METADATA, {}))
    if len(header) > MAX_TENSORS:
        raise _Bad(f"it has more than {MAX_TENSORS} tensors")
    places = {name: _place(name, entry, data_offset) for name, entry in header.items()}
    in_order = dict(sorted(places.items(), key=lambda item: (item[1].offset, item[1].byte_length)))
    end = data_offset
    for name, place in in_order.items():
        if place.offset != end:
            raise _Bad(f"the tensor {name[:60]!r} does not begin where the one before ends")
        end += place.byte_length
    if end != len(file):
        raise _Bad(f"its tensors reach to byte {end}, and it is {len(file)} bytes long")
    return in_order, metadata


def _parse(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise _Bad("its header does not begin with {")
    try:
        return json.loads(text.decode(), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as cause:
        raise _Bad("its header is not JSON in UTF-8") from cause


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Bad("a key in its header comes twice")
    for key in found:
        _check_text(key)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise _Bad(f"{name} is not JSON")


def _check_text(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _Bad("a string in its header is not Unicode")


def _metadata(found: object) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _Bad("its metadata are not texts")
    for value in found.values():
        _check_text(value)
    return found


def _place(name: str, entry: object, data_offset: int) -> Place:
    who = f"the tensor {name[:60]!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _Bad(f"{who} has other keys than dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    bits = _bits.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise _Bad(f"{who} has an unknown dtype")
    if not _are_counts(shape, _MAX_DIMENSIONS) or not _are_counts(offsets, 2) or len(offsets) != 2:
        raise _Bad(f"{who} has a shape or data_offsets that are not lists of whole numbers")
    begin, end = offsets
    if 8 * (end - begin) != math.prod(shape) * bits or math.prod(length or 1 for length in shape) > _MOST:
        raise _Bad(f"{who} has {end - begin} bytes, which is not what its shape and dtype need")
    return Place(dtype, tuple(shape), data_offset + begin, end - begin)


def _are_counts(found: object, at_most: int) -> bool:
    return (
        isinstance(found, list)
        and len(found) <= at_most
        and all(type(number) is int and 0 <= number <= _MOST for number in found)
    )


def lay_out(
    tensors: Sequence[tuple[str, np.ndarray]], metadata: Mapping[str, str] | None
) -> tuple[bytes, list[int], int]:
    """What a file of these tensors begins with, where each of them lies, and how long the file is."""
    # The larger elements first, as the reference does: so each tensor is aligned, since there may be no gaps.
    order = sorted(range(len(tensors)), key=lambda index: -tensors[index][1].itemsize)
    header: dict[str, object] = {} if metadata is None else {METADATA: dict(metadata)}
    begins = [0] * len(tensors)
    end = 0
    for index in order:
        name, array = tensors[index]
        begins[index] = end
        end += array.nbytes
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [begins[index], end],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    data_offset = _ALIGNMENT * math.ceil((_LENGTH_BYTES + len(text)) / _ALIGNMENT)
    head = struct.pack("<Q", data_offset - _LENGTH_BYTES) + text.ljust(data_offset - _LENGTH_BYTES)
    return head, [data_offset + begin for begin in begins], data_offset + end
