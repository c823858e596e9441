"""The dtypes of arrays in objects, by numpy's type strings."""

from __future__ import annotations

import numpy as np

KNOWN = (
    "bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float16, float32, float64, complex64, complex128"
)
_BY_DESCR = {dtype.str: dtype for dtype in (np.dtype(name).newbyteorder("<") for name in KNOWN.split(", "))}


def dtype_of_descr(descr: object) -> np.dtype | None:
    """None where it is no fixed-size number, or a big-endian one. Of single bytes, any byte order will do."""
    if type(descr) is not str or len(descr) > 4:
        return None
    found = _BY_DESCR.get(descr)
    if found is None and descr[:1] in ("=", "|"):
        found = _BY_DESCR.get("<" + descr[1:])
    if found is None and descr[:1] in ("<", "=", ">"):
        found = _BY_DESCR.get("|" + descr[1:])
    return found


def little_endian(dtype: np.dtype) -> np.dtype | None:
    """The dtype in which elements of this one are written; None where they are no fixed-size numbers."""
    return _BY_DESCR.get(dtype.newbyteorder("<").str)
