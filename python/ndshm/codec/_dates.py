"""JavaScript's dates: milliseconds since 1970. Python's fractions of them are kept; JavaScript drops them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from ._object_format import corrupt

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# Of JavaScript's dates.
_MAX_MS = 8.64e15
_MAX_YEARS_FROM_1970 = 280_000


def date_of(ms: Any) -> datetime | np.datetime64:
    """A datetime; outside the years 1 to 9999, and where it is an invalid date, what numpy has."""
    if ms is not None and type(ms) not in (int, float):
        raise corrupt("it has a malformed date")
    if ms is None or not abs(ms) <= _MAX_MS:
        return np.datetime64("NaT", "ms")
    try:
        return _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return np.datetime64(int(ms), "ms")


def ms_of(date: datetime | np.datetime64) -> int | float | None:
    """Of a datetime with a time zone, or of numpy's; None = not a time."""
    if isinstance(date, np.datetime64):
        # Those that JavaScript has not would be too many microseconds, which numpy does not say.
        if np.isnat(date) or abs(int(date.astype("datetime64[Y]").astype(np.int64))) > _MAX_YEARS_FROM_1970:
            return None
        microseconds = int(date.astype("datetime64[us]").astype(np.int64))
    else:
        microseconds = (date - _EPOCH) // timedelta(microseconds=1)
    ms, rest = divmod(microseconds, 1000)
    return ms if rest == 0 else microseconds / 1000
