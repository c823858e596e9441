"""Files of other people's formats in /dev/shm: nothing but that format, no header of ours, no peers, no lock."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import directory, errors
from ._attachment import Attachment, Mapping
from ._library import Failure, lib
from ._npy import NpyHeader
from ._options import boolean_option, check_name, one_of
from ._segment_file import OpenedFile
from ._segments import look_up, new_segment, open_segment


def check_naming(name: object, if_exists: object, allow_foreign_owner: object) -> str:
    """The arguments that the put functions have in common, before any work is done."""
    one_of(if_exists, ("error", "replace"), "if_exists")
    boolean_option(allow_foreign_owner, "allow_foreign_owner")
    return check_name(name)


def publish_file(
    name: str,
    byte_length: int,
    fill: Callable[[memoryview], object],
    if_exists: str,
    allow_foreign_owner: bool,
) -> None:
    """A file of so many bytes, zeros until `fill` has written them; it gets its name when they are complete."""
    directory.reap_once()
    # Before the work of filling; the link or rename at the end is what decides.
    look_up(name, if_exists, None, allow_foreign_owner)
    handle = new_segment((None, byte_length, 0, None, False, False, None), name, byte_length)
    # Frees it once nothing looks at it any more: the traceback of what `fill` raises does.
    pages = Mapping(handle, byte_length, True)
    fill(memoryview(np.asarray(pages)))
    failure = Failure()
    if lib.ndshm_segment_publish(handle, name.encode(), if_exists == "replace", failure) < 0:
        errors.raise_failure(failure, name, byte_length)


def open_bytes(name: str, mode: str, allow_foreign_owner: bool) -> Attachment:
    """All bytes of a file, whatever they are."""
    return open_segment(name, mode, allow_foreign_owner, _all_bytes)


def _all_bytes(file: OpenedFile) -> NpyHeader:
    size = file.facts.size
    return NpyHeader(np.dtype(np.uint8), "C", (size,), 0, size)
