"""Copies an object into its pages, slice by slice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

from ..codec import Encoded
from ._extents import Extent
from ._reservoir import PAGE_BYTES, Reservoir, pages_for

# So much is copied at a time: between two of them other threads have their turn, and the copy may be given up.
_SLICE_BYTES = 2**23
# Buffers of so many bytes begin at a page, and are put into fresh pages as they come into being.
_PAGE_ALIGNED_FROM = 2**20


def copy_object(pages: Reservoir, extent: Extent, encoded: Encoded, go_on: Callable[[], None]) -> None:
    """What it is copied from must not change meanwhile. `go_on` may raise between two slices."""
    start = extent.start * PAGE_BYTES
    if not extent.warm:
        _fill_holes(pages, start, extent.pages * PAGE_BYTES, encoded, go_on)
    pages.write(start, encoded.head)
    for offset, part in encoded.buffers:
        if not extent.warm and part.nbytes >= _PAGE_ALIGNED_FROM:
            continue
        for at, some in _slices(part):
            go_on()
            pages.write(start + offset + at, some)


def _fill_holes(pages: Reservoir, start: int, byte_length: int, encoded: Encoded, go_on: Callable[[], None]) -> None:
    """Every page once: with a large buffer's bytes where there is one, else with zeros."""
    filled = 0
    for offset, part in encoded.buffers:
        if part.nbytes < _PAGE_ALIGNED_FROM:
            continue
        fill_zeros(pages, start + filled, offset - filled, go_on)
        filled = offset + pages_for(part.nbytes) * PAGE_BYTES
        for at, some in _slices(part):
            go_on()
            pages.fill(start + offset + at, pages_for(some.nbytes) * PAGE_BYTES, some)
    fill_zeros(pages, start + filled, byte_length - filled, go_on)


def fill_zeros(pages: Reservoir, start: int, byte_length: int, go_on: Callable[[], None]) -> None:
    for at in range(0, byte_length, _SLICE_BYTES):
        go_on()
        pages.fill(start + at, min(_SLICE_BYTES, byte_length - at))


def _slices(part: memoryview) -> Iterator[tuple[int, memoryview]]:
    for at in range(0, part.nbytes, _SLICE_BYTES):
        yield at, part[at : at + _SLICE_BYTES]
