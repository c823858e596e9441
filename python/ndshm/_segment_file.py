"""What an opened file is, before anything of it is mapped."""

from __future__ import annotations

import ctypes
import os
from types import TracebackType

from . import errors
from ._layout import HEADER_BYTES
from ._library import Control, Facts, Failure, lib
from ._npy import MAX_HEADER_BYTES, NpyHeader, header_end, parse_header


class OpenedFile:
    """An open file in /dev/shm; a context manager that closes it, unless an attachment has taken it over."""

    __slots__ = ("facts", "handle", "name", "start")

    def __init__(self, source: str | int, need_write: bool) -> None:
        self.name = source if isinstance(source, str) else None
        handle = lib.ndshm_segment_new()
        if handle is None:
            raise MemoryError
        self.handle: int | None = handle
        failure = Failure()
        if isinstance(source, str):
            opened = lib.ndshm_segment_open(handle, source.encode(), need_write, failure)
        else:
            opened = lib.ndshm_segment_open_descriptor(handle, source, need_write, failure)
        if opened < 0:
            self.close()
            errors.raise_failure(failure, self.name)
        self.facts = Facts()
        lib.ndshm_segment_facts(handle, self.facts)
        # Most headers are 128 bytes or ours; one page holds any of a number dtype but the longest padding.
        self.start = self.read(HEADER_BYTES, 0)

    def read(self, byte_length: int, offset: int) -> bytes:
        """As many bytes as there are."""
        into = ctypes.create_string_buffer(byte_length)
        failure = Failure()
        count = lib.ndshm_segment_read(self.handle, into, byte_length, offset, failure)
        if count < 0:
            errors.raise_failure(failure, self.name)
        return into.raw[:count]

    def header(self, who: str) -> NpyHeader:
        """The header, judged by itself; check_extent() judges it by the file's size."""
        start = self.start
        extent = header_end(start, f"'{who}'")
        if extent is not None and extent[1] > len(start):
            start = self.read(MAX_HEADER_BYTES + 12, 0)
        return parse_header(start, f"'{who}'")

    def control(self, data_offset: int, data_bytes: int) -> Control | None:
        """What the control block says; None = there is none."""
        control, failure = Control(), Failure()
        found = lib.ndshm_segment_control(self.handle, data_offset, data_bytes, control, failure)
        if found < 0:
            errors.raise_failure(failure, self.name)
        return control if found == 1 else None

    def detach(self) -> int:
        """The core's handle, which is the caller's from now on."""
        handle, self.handle = self.handle, None
        assert handle is not None
        return handle

    def close(self) -> None:
        if self.handle is not None:
            lib.ndshm_segment_free(self.detach())

    def __enter__(self) -> OpenedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_file(source: str | int, need_write: bool = False) -> OpenedFile:
    """Opens by name or by descriptor."""
    return OpenedFile(source, need_write)


def check_owner(name: str | None, facts: Facts, allow_foreign_owner: bool) -> None:
    if allow_foreign_owner or facts.owner == os.geteuid():
        return
    raise errors.error(
        "ERR_NDSHM_FOREIGN_OWNER",
        f"'{name}' belongs to user {facts.owner}, and this process runs as {os.geteuid()}; pass "
        "allow_foreign_owner=True if you trust that user",
    )


def check_extent(who: str, header: NpyHeader, file_bytes: int) -> None:
    """Raises unless the elements lie within the file and are aligned."""
    end = header.data_offset + header.data_bytes
    if end > file_bytes:
        raise errors.error(
            "ERR_NDSHM_TRUNCATED", f"'{who}' is {file_bytes} bytes long, but its elements would reach to byte {end}"
        )
    alignment = header.dtype.itemsize // (2 if header.dtype.kind == "c" else 1)
    if header.data_offset % alignment != 0:
        raise errors.error(
            "ERR_NDSHM_ALIGNMENT",
            f"The elements of '{who}' start at byte {header.data_offset}, which is no multiple of {alignment}; open as "
            "uint8 and copy",
        )


def id_of(control: Control | None) -> str | None:
    """The random id of a segment; None for files that are not of ndshm's making."""
    return None if control is None else bytes(control.segment_id).hex()


def identity_of(segment_id: str | None, facts: Facts) -> str:
    """Tells a segment from any other under the same name; a plain .npy file also from its next content."""
    return segment_id if segment_id is not None else f"{facts.inode}@{facts.modified_at_ns}"
