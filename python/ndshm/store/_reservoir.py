"""A member of many pages that do not exist until they are filled."""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress

import numpy as np

from .. import _library
from .._attachment import Attachment
from .._forks import on_fork
from .._layout import HEADER_BYTES, PAGE_BYTES
from .._segment_file import OpenedFile, check_owner, open_file
from .._segments import PATIENCE, create_segment, exists_error, parent_of
from ..directory import reap
from ..errors import Error, busy_error, closed_error, error, raise_failure
from ._member import membership

__all__ = ["PAGE_BYTES", "Pages", "Reservoir", "pages_for"]


def pages_for(byte_length: int) -> int:
    return -(-byte_length // PAGE_BYTES)


class Pages:
    """A range of a reservoir, mapped for as long as anybody has a view on it.

    Its lease, if it has one, ends with the last view, here and in every forked child.
    """

    _handle: int | None = None

    def __init__(self, handle: int, byte_length: int, *, writable: bool, leased: bool) -> None:
        self._free = _library.fast.ndshm_pages_free  # at the interpreter's end the module may have gone before
        self._handle = handle
        self.address: int = _library.fast.ndshm_pages_data(handle)
        self.leased = leased
        # What numpy takes an array from, whose base is then this object.
        self.__array_interface__ = {
            "data": (self.address, not writable),
            "shape": (byte_length,),
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(self) -> None:
        if self._handle is not None:  # else it was interrupted as it began
            self._free(self._handle)

    @property
    def memory(self) -> memoryview:
        return memoryview(np.asarray(self))

    @property
    def faulted(self) -> bool:
        """Whether any were lost, because another process truncated the file; what was lost reads as zeros."""
        return _library.fast.ndshm_pages_faulted(self._handle) != 0

    def check(self) -> None:
        if self.faulted:
            raise error("ERR_NDSHM_TRUNCATED", "The object lost pages: another process truncated the store's file")

    def seal(self) -> None:
        """Once, of writable ones: what is stored from now on reaches nobody."""
        failure = _library.Failure()
        if _library.fast.ndshm_pages_seal(self._handle, failure) < 0:
            raise_failure(failure, None)


_reservoirs: weakref.WeakSet[Reservoir] = weakref.WeakSet()


class Reservoir:
    """Ranges of it are filled, mapped, leased and given back one by one.

    Offsets and lengths are in bytes, counted from the first element, and multiples of 4096 unless said otherwise.
    Threads may share it: whoever stores into it holds `lock`.
    """

    def __init__(self, file: OpenedFile, name: str, byte_length: int) -> None:
        """Takes over the file's descriptor."""
        handle = _library.fast.ndshm_reservoir_new(file.handle, HEADER_BYTES, byte_length)
        if handle is None:
            raise MemoryError
        self.name = name
        self.byte_length = byte_length
        self.lock = threading.RLock()
        self._handle = handle
        self._close = weakref.finalize(self, _library.fast.ndshm_reservoir_free, handle)
        self._close.atexit = False
        self._mapped: weakref.WeakSet[Pages] = weakref.WeakSet()
        self._faults = _library.fault_word()
        self._faults_seen = self._faults.value
        self._faulted = False
        _reservoirs.add(self)

    @classmethod
    def open_or_create(
        cls, parent: Attachment, label: str, byte_length: int, allow_foreign_owner: bool = False
    ) -> Reservoir:
        """Opens the member `PARENT.LABEL`, of whatever length it is.

        Makes it if it is missing or an orphan of an earlier parent.
        Errors: ENOSPC, EMFILE, EEXIST if the name is that of something else, ERR_NDSHM_FOREIGN_OWNER, ERR_NDSHM_BUSY
        also if the parent's name has come to mean another segment.
        """
        name, member_of = membership(parent, label)
        for _ in range(PATIENCE):
            try:
                with open_file(name, need_write=True) as file:
                    check_owner(name, file.facts, allow_foreign_owner)
                    header, found = file.header(name), parent_of(file, name)
                    if found is None or header.data_offset != HEADER_BYTES:
                        raise exists_error(name)
                    if found == member_of:
                        return cls(file, name, header.data_bytes)
                reap(name)
            except FileNotFoundError:
                with suppress(FileExistsError):
                    create_segment(name, "uint8", (byte_length,), member_of=member_of, sparse=True).close()
        raise busy_error(name)

    def fill(self, offset: int, byte_length: int, source: memoryview | None = None) -> None:
        """Makes pages of holes: reserved for certain, with `source` in them, and zeros behind it.

        Blocks for as long as that takes. Errors: ENOSPC, and then they are holes again.
        """
        self._check_pages(offset, byte_length)
        data = None if source is None else np.frombuffer(source, np.uint8)
        address, count = (None, 0) if data is None else (data.ctypes.data, data.nbytes)
        if count > byte_length:
            raise self._outside(offset, count)
        failure = _library.Failure()
        with self.lock:
            if _library.lib.ndshm_reservoir_fill(self._open(), offset, byte_length, address, count, failure) < 0:
                raise_failure(failure, self.name, byte_length)

    def write(self, offset: int, source: bytes | memoryview) -> None:
        """Into pages that exist; any offset and length. Blocks."""
        if len(source) == 0:
            return
        data = np.frombuffer(source, np.uint8)
        if not 0 <= offset <= self.byte_length - data.nbytes:
            raise self._outside(offset, data.nbytes)
        failure = _library.Failure()
        with self.lock:
            if _library.lib.ndshm_reservoir_write(self._open(), offset, data.ctypes.data, data.nbytes, failure) < 0:
                raise_failure(failure, self.name)

    def punch(self, offset: int, byte_length: int) -> None:
        """Gives the pages back to the system: they read as zeros from now on, for whoever has them mapped."""
        self._check_pages(offset, byte_length)
        failure = _library.Failure()
        with self.lock:
            if _library.lib.ndshm_reservoir_punch(self._open(), offset, byte_length, failure) < 0:
                raise_failure(failure, self.name)

    def map(self, offset: int, byte_length: int, *, writable: bool = False, leased: bool = False) -> Pages:
        """A range, for as long as anybody has a view on it.

        `leased`: until then nobody uses its pages for anything else. Errors: ENOMEM, EMFILE.
        """
        self._check_pages(offset, byte_length)
        failure = _library.Failure()
        with self.lock:
            handle = _library.fast.ndshm_reservoir_map(self._open(), offset, byte_length, writable, leased, failure)
            if handle is None:
                raise_failure(failure, self.name)
            pages = Pages(handle, byte_length, writable=writable, leased=leased)
            self._mapped.add(pages)
            return pages

    def is_leased(self, offset: int, byte_length: int) -> bool:
        """Whether this or any other process has a lease on any of these pages."""
        self._check_pages(offset, byte_length)
        failure = _library.Failure()
        with self.lock:
            leased = _library.fast.ndshm_reservoir_is_leased(self._open(), offset, byte_length, failure)
            if leased < 0:
                raise_failure(failure, self.name)
            return leased != 0

    @property
    def has_leases(self) -> bool:
        """Whether this process has any."""
        with self.lock:
            return any(pages.leased for pages in self._mapped)

    @property
    def faulted(self) -> bool:
        """Whether pages were lost, because another process truncated the file; what was lost reads as zeros."""
        faults = self._faults.value
        if faults != self._faults_seen:
            with self.lock:
                lost = _library.fast.ndshm_reservoir_faulted(self._open()) != 0
                self._faulted = self._faulted or lost or any(pages.faulted for pages in self._mapped)
            self._faults_seen = faults
        return self._faulted

    def close(self) -> None:
        """What was mapped before stays valid, and leased. May be called again."""
        with self.lock:
            self._close()

    def _open(self) -> int:
        if not self._close.alive:
            raise closed_error(f"'{self.name}'")
        return self._handle

    def _check_pages(self, offset: int, byte_length: int) -> None:
        is_range = offset >= 0 and 0 < byte_length <= self.byte_length - offset
        if not is_range or offset % PAGE_BYTES != 0 or byte_length % PAGE_BYTES != 0:
            raise self._outside(offset, byte_length)

    def _outside(self, offset: int, byte_length: int) -> Error:
        return error(
            "ERR_NDSHM_OUT_OF_RANGE",
            f"{byte_length} bytes from byte {offset} on are no range of the {self.byte_length} bytes of '{self.name}'",
        )


def _forked() -> None:
    # Whoever held the old ones is not in this process.
    for reservoir in _reservoirs:
        reservoir.lock = threading.RLock()


on_fork(_forked)
