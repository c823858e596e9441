"""Which pages of a reservoir are free (docs/format.md, 'A store's segments')."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import Error, error


class Extent(NamedTuple):
    """A run of pages of the reservoir."""

    start: int
    pages: int
    warm: bool
    """Its pages exist, with whatever was in them last; else they are holes."""


# A free range: its first page, how many, whether they are warm. Ordered by their first pages.
_START, _PAGES, _WARM = range(3)
_MAX_RANGES = 8192

_USED = 0
_COUNT = 1
_RANGES = 2


class Extents:
    """The free pages. All words are derived from the rows, and built anew after somebody died under the lock.

    To be called under the lock.
    """

    WORDS = _RANGES + _MAX_RANGES * 3

    def __init__(self, words: memoryview, total_pages: int, capacity_pages: int) -> None:
        """`capacity_pages`: how many of the reservoir's may exist at a time."""
        self._words = words
        self._all = np.frombuffer(words, np.uint32)[_RANGES:].reshape(_MAX_RANGES, 3)
        self.total_pages = total_pages
        self.capacity_pages = capacity_pages

    @property
    def used_pages(self) -> int:
        """Pages that exist: in use, or warm."""
        return self._words[_USED]

    @used_pages.setter
    def used_pages(self, pages: int) -> None:
        if pages < 0:
            raise _corrupt()
        self._words[_USED] = pages

    @property
    def _ranges(self) -> np.ndarray:
        count = self._words[_COUNT]
        if count > _MAX_RANGES:
            raise _corrupt()
        return self._all[:count]

    def _range(self, n: int) -> Extent:
        start, pages, warm = self._all[n].tolist()
        if pages == 0 or start + pages > self.total_pages:
            raise _corrupt()
        return Extent(start, pages, warm != 0)

    def _remove(self, n: int) -> None:
        count = len(self._ranges)
        self._all[n : count - 1] = self._all[n + 1 : count]
        self._words[_COUNT] = count - 1

    def take(self, pages: int) -> Extent | None:
        """The warm range that fits best, or else holes, where the capacity allows more pages; None if neither."""
        lengths = self._ranges[:, _PAGES]
        is_warm = self._ranges[:, _WARM] != 0
        warm = np.flatnonzero((lengths >= pages) & is_warm)
        holes = np.flatnonzero((lengths >= pages) & ~is_warm)
        if len(warm) > 0:
            n = int(warm[np.argmin(lengths[warm])])
        elif len(holes) > 0 and self.used_pages + pages <= self.capacity_pages:
            n = int(holes[0])
        else:
            return None
        found = self._range(n)
        if found.pages == pages:
            self._remove(n)
        else:
            self._all[n] = found.start + pages, found.pages - pages, found.warm
        if not found.warm:
            self.used_pages += pages
        return Extent(found.start, pages, found.warm)

    def give(self, extent: Extent) -> bool:
        """Takes back what take() gave; where it is not warm, the caller has given its pages back to the system already.

        False = there is no room to note it: these pages must not be warm, and nobody uses them before the next rebuild.
        """
        start, pages, warm = extent
        count = len(self._ranges)
        n = int(np.searchsorted(self._ranges[:, _START], start))
        before = self._range(n - 1) if n > 0 else None
        after = self._range(n) if n < count else None
        overlaps_before = before is not None and before.start + before.pages > start
        if overlaps_before or (after is not None and start + pages > after.start):
            raise _corrupt()
        joins_before = before is not None and before.warm == warm and before.start + before.pages == start
        joins_after = after is not None and after.warm == warm and start + pages == after.start
        if not joins_before and not joins_after and count == _MAX_RANGES:
            return False
        if not warm:
            self.used_pages -= pages
        if before is not None and joins_before:
            start, pages = before.start, before.pages + pages
            n -= 1
        if after is not None and joins_after:
            pages += after.pages
        if joins_before and joins_after:
            self._remove(n + 1)
        elif not joins_before and not joins_after:
            self._all[n + 1 : count + 1] = self._all[n:count].copy()
            self._words[_COUNT] = count + 1
        self._all[n] = start, pages, warm
        return True

    def take_warmest(self) -> Extent | None:
        """Takes the largest warm range out, for the caller to give its pages back to the system and then give() it."""
        warm = np.flatnonzero(self._ranges[:, _WARM] != 0)
        if len(warm) == 0:
            return None
        n = int(warm[np.argmax(self._ranges[warm, _PAGES])])
        found = self._range(n)
        self._remove(n)
        return found

    @property
    def warm_pages(self) -> int:
        """Pages that exist and are free."""
        ranges = self._ranges
        return int(ranges[ranges[:, _WARM] != 0, _PAGES].sum(dtype=np.uint64))

    def rebuild(self, in_use: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Everything but these (first page, pages) is free from now on, and holes; these holes."""
        holes = []
        used = end = 0
        for start, pages in sorted(in_use):
            if start < end or pages == 0 or start + pages > self.total_pages:
                raise _corrupt()
            if start > end:
                holes.append((end, start - end))
            used += pages
            end = start + pages
        if end < self.total_pages:
            holes.append((end, self.total_pages - end))
        self.used_pages = used
        # The last of them if there are too many to note: they end with what was never used.
        noted = holes[-_MAX_RANGES:]
        for n, (start, pages) in enumerate(noted):
            self._all[n] = start, pages, 0
        self._words[_COUNT] = len(noted)
        return holes


def _corrupt() -> Error:
    return error("ERR_NDSHM_CONTROL_CORRUPT", "The free pages of the store have been overwritten; make it anew")
