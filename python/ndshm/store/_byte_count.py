from __future__ import annotations

import re

from .._options import integer_in
from ..errors import InvalidValue

_UNITS = ("", "Ki", "Mi", "Gi", "Ti")
_FORM = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]i)?B", re.ASCII)
_MOST = 2**53 - 1


def byte_count(value: object, what: str) -> int:
    """A number of bytes: 2147483648, '2GiB', '512 MiB' (IEC units, powers of 1024)."""
    if not isinstance(value, str):
        return integer_in(value, 0, _MOST, what)
    found = _FORM.fullmatch(value)
    if found is None:
        raise InvalidValue(
            f"Expected bytes as a number or like '512MiB' or '2GiB' for {what} but received {value[:60]!r}"
        )
    return integer_in(int(float(found[1]) * 1024 ** _UNITS.index(found[2] or "")), 0, _MOST, what)
