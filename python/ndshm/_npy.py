"""The .npy header: as numpy writes and reads it, restricted to what can be mapped (docs/format.md)."""

from __future__ import annotations

import ast
import operator
import re
import struct
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import numpy as np

from . import errors
from ._layout import HEADER_BYTES
from ._options import one_of

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000
"""A header without structured dtypes needs a few hundred bytes; numpy refuses to parse more than this, too."""
# numpy's, which before 2.0 were fewer than the format's.
MAX_DIMENSIONS = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
_MOST = 2**53 - 1
"""JavaScript's largest whole number: more could not be counted there."""

_PREFIX_BYTES = {1: 10, 2: 12, 3: 12}

DTYPES = {
    name: np.dtype(name)
    for name in (
        *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
}
_by_descr = {dtype.str: dtype for dtype in DTYPES.values()}


Order = Literal["C", "F"]


class NpyHeader(NamedTuple):
    dtype: np.dtype
    order: Order
    shape: tuple[int, ...]
    data_offset: int
    data_bytes: int


def check_dtype(dtype: object) -> np.dtype:
    """The dtype, in whatever way numpy lets one say it. Errors: ERR_NDSHM_DTYPE."""
    try:
        found = np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError as cause:
        raise errors.error("ERR_NDSHM_DTYPE", f"Unknown dtype {dtype!r}; known: {', '.join(DTYPES)}") from cause
    known = _by_descr.get(found.str) if found.fields is None else None
    if known is None:
        raise errors.error("ERR_NDSHM_DTYPE", f"The dtype {found} cannot be mapped; known: {', '.join(DTYPES)}")
    return known


def check_order(order: object, what: str = "order") -> Order:
    return cast("Order", one_of(order, ("C", "F"), what))


def check_shape(shape: object) -> tuple[int, ...]:
    """The lengths; a number n means (n,). Errors: ERR_NDSHM_SHAPE, ERR_NDSHM_INVALID_ARGUMENT."""
    lengths = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) and not isinstance(shape, str) else (shape,)
    if len(lengths) > MAX_DIMENSIONS:
        raise errors.error(
            "ERR_NDSHM_SHAPE", f"Expected at most {MAX_DIMENSIONS} dimensions but received {len(lengths)}"
        )
    return tuple(_length(length) for length in lengths)


def _length(length: object) -> int:
    try:
        number = operator.index(length)  # type: ignore[arg-type]
    except TypeError:
        raise errors.wrong_kind("whole numbers", "shape", length) from None
    if not 0 <= number <= _MOST:
        raise errors.error("ERR_NDSHM_SHAPE", f"Expected lengths of 0 or more in shape but received {number}")
    return number


def checked_byte_length(shape: Sequence[int], item_bytes: int) -> int:
    """How many bytes elements of this shape take; refuses what JavaScript could not count."""
    count = item_bytes
    for length in shape:
        count *= length or 1
    if count > _MOST:
        raise errors.error(
            "ERR_NDSHM_SHAPE", f"The shape {tuple(shape)} with {item_bytes}-byte elements is more than 2^53 bytes"
        )
    return 0 if 0 in shape else count


def format_header(dtype: np.dtype, order: str, shape: tuple[int, ...]) -> bytes:
    """A version 1.0 header, padded to the page of which it is all."""
    described = f"{{'descr': '{dtype.str}', 'fortran_order': {order == 'F'}, 'shape': {shape}, }}"
    start = MAGIC + b"\x01\x00" + struct.pack("<H", HEADER_BYTES - _PREFIX_BYTES[1]) + described.encode("latin1")
    return start.ljust(HEADER_BYTES - 1) + b"\n"


def _bad(who: str, why: str) -> errors.Error:
    return errors.error("ERR_NDSHM_HEADER", f"{who} has no valid .npy header: {why}")


def header_end(start: bytes, who: str) -> tuple[int, int] | None:
    """Where the dict and the elements begin; None if the file does not start like an .npy file at all."""
    if len(start) < _PREFIX_BYTES[1] or not start.startswith(MAGIC):
        return None
    major, minor = start[6], start[7]
    dict_at = _PREFIX_BYTES.get(major)
    if dict_at is None or minor != 0:
        raise _bad(who, f"unknown version {major}.{minor}")
    if len(start) < dict_at:
        raise _bad(who, "it ends before its header does")
    (length,) = struct.unpack_from("<H" if major == 1 else "<I", start, 8)
    if length > MAX_HEADER_BYTES:
        raise _bad(who, f"its header claims {length} bytes; a header of numbers has at most {MAX_HEADER_BYTES}")
    return dict_at, dict_at + length


def parse_header(start: bytes, who: str) -> NpyHeader:
    """Parses the header of an .npy file that begins so. Errors: ERR_NDSHM_HEADER, ERR_NDSHM_DTYPE, ERR_NDSHM_SHAPE."""
    extent = header_end(start, who)
    if extent is None:
        raise _bad(who, "it does not start with \\x93NUMPY; for raw memory use open_raw()")
    dict_at, end = extent
    if len(start) < end:
        raise _bad(who, "it ends before its header does")
    descr, fortran, shape = _parse_dict(start[dict_at:end], who)
    dtype = _dtype_of(descr, who)
    return NpyHeader(dtype, "F" if fortran else "C", shape, end, checked_byte_length(shape, dtype.itemsize))


def _parse_dict(text: bytes, who: str) -> tuple[str, bool, tuple[int, ...]]:
    try:
        found = ast.literal_eval(text.decode("latin1"))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as cause:
        raise _bad(who, "it is not a dict of literals") from cause
    if not isinstance(found, dict) or set(found) != {"descr", "fortran_order", "shape"}:
        raise _bad(who, "it needs the keys 'descr', 'fortran_order' and 'shape', and no others")
    descr, fortran, shape = found["descr"], found["fortran_order"], found["shape"]
    if isinstance(descr, (list, tuple, dict)):
        raise errors.error("ERR_NDSHM_DTYPE", f"{who} has a structured dtype, which cannot be mapped")
    if not isinstance(descr, str) or not isinstance(fortran, bool) or not isinstance(shape, tuple):
        raise _bad(who, "'descr' has to be a string, 'fortran_order' True or False, and 'shape' a tuple")
    if len(shape) > MAX_DIMENSIONS:
        raise _bad(who, f"more than {MAX_DIMENSIONS} dimensions")
    for length in shape:
        if type(length) is not int or not 0 <= length <= _MOST:
            # Not to be shown: a hexadecimal one may be too long for Python to convert.
            raise _bad(who, "a length in its shape is no whole number from 0 to 2^53 - 1")
    return descr, fortran, shape


def _dtype_of(descr: str, who: str) -> np.dtype:
    for spelling in (descr, re.sub(r"^[=|]", "<", descr), re.sub(r"^[<=>]", "|", descr)):
        if spelling in _by_descr:
            return _by_descr[spelling]
    why = "is big-endian" if descr.startswith(">") else "is not a fixed-size number"
    raise errors.error(
        "ERR_NDSHM_DTYPE",
        f"The dtype {descr[:40]!r} of {who} {why} and cannot be mapped; in numpy: a.astype(one of {', '.join(DTYPES)})",
    )
