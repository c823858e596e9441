"""One process's hold on a segment: its elements in memory, and the peer that it is."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from . import _at_exit, errors
from ._layout import PEER_SLOTS, STATUS_REPLACED
from ._library import Control, Facts, Failure, fast, fault_word, lib
from ._lock import PeerId, Remaining, SegmentLock
from ._segment_file import identity_of
from ._stop import Stop, in_thread

if TYPE_CHECKING:
    from ._npy import NpyHeader

__all__ = ["Attachment", "PeerId", "Stop", "in_thread"]

T = TypeVar("T")

attachments: weakref.WeakValueDictionary[int, Attachment] = weakref.WeakValueDictionary()
"""All that are open, by id(): a forked child goes through them."""


class Mapping:
    """The elements as numpy sees them. Whatever looks at them keeps this alive, and this keeps them mapped."""

    __slots__ = ("__array_interface__", "_free", "handle")

    def __init__(self, handle: int, byte_length: int, writable: bool) -> None:
        self.handle = handle
        self._free = fast.ndshm_segment_free
        self.__array_interface__ = {
            "version": 3,
            "data": (fast.ndshm_segment_data(handle) or 0, not writable),
            "shape": (byte_length,),
            "typestr": "|u1",
        }

    def __del__(self) -> None:
        self._free(self.handle)


class _NotAsked:
    """Stands for an id that nobody has asked for yet."""


_not_asked = _NotAsked()


class Attachment:
    """An open segment. Several threads may use one attachment: they are one peer, and queue for its lock in here."""

    __slots__ = (
        "__weakref__",
        "_faults",
        "_faults_seen",
        "_forget_exit",
        "_id",
        "_lock",
        "_mapping",
        "_ready",
        "closed",
        "data_offset",
        "dtype",
        "enter_read",
        "enter_write",
        "leave_read",
        "leave_write",
        "memory",
        "mode",
        "name",
        "nbytes",
        "order",
        "raw",
        "root",
        "segment",
        "shape",
    )

    def __init__(self, handle: int, name: str | None, mode: str, header: NpyHeader, raw: bool = False) -> None:
        self.name = name
        self.mode = mode
        self.raw = raw
        """Opened by open_raw(): there is no header to go by, and no control block."""
        self.dtype, self.order, self.shape, self.data_offset, self.nbytes = header
        self.segment = handle
        """The core's handle. It is valid for as long as this object exists."""
        self.closed = False
        self._faults = fault_word()
        self._faults_seen = self._faults.value
        self._id: str | _NotAsked | None = _not_asked
        self._mapping = Mapping(handle, self.nbytes, mode != "r")
        # Nothing is mapped where there are no elements, nor of a reservoir.
        self.root = self._mapping if self.address != 0 else bytearray()
        """What every numpy array over the memory has at the end of its chain of bases."""
        self.memory = memoryview(self.root if isinstance(self.root, bytearray) else np.asarray(self.root))
        """The elements, as bytes in memory order."""
        self._lock = lock = SegmentLock(self)
        # As they are, and not by way of methods here, since they are what a lock costs.
        self.enter_write = lock.enter_write
        self.leave_write = lock.leave_write
        self.enter_read = lock.enter_read
        self.leave_read = lock.leave_read
        self._forget_exit = _at_exit.close_at_exit(self) if self.ephemeral else None
        attachments[id(self)] = self
        self._ready = True

    @property
    def who(self) -> str:
        return "an anonymous array" if self.name is None else f"'{self.name}'"

    @property
    def address(self) -> int:
        """Of the first element; 0 if there is none."""
        return fast.ndshm_segment_data(self.segment) or 0

    @property
    def ephemeral(self) -> bool:
        """Whether the segment belongs to its peers."""
        return fast.ndshm_segment_ephemeral(self.segment) == 1

    @property
    def id(self) -> str | None:
        """The random id of the segment; None for files that are not of our making."""
        if isinstance(self._id, _NotAsked):
            self.check()
            self._id = None if self.raw else self._read_id()
        return self._id

    def _read_id(self) -> str | None:
        control, failure = Control(), Failure()
        # Keeps the GIL: no other thread closes the descriptor meanwhile.
        found = fast.ndshm_segment_control(self.segment, self.data_offset, self.nbytes, control, failure)
        return bytes(control.segment_id).hex() if found == 1 else None

    @property
    def identity(self) -> str:
        """Tells the segment from any other under the same name; a plain .npy file also from its next content."""
        facts = Facts()
        fast.ndshm_segment_facts(self.segment, facts)
        return identity_of(self.id, facts)

    def check(self) -> None:
        """Raises if closed, or if the file was truncated under the mapping."""
        if self.closed:
            raise errors.closed_error(self.who)
        faults = self._faults.value
        if faults == self._faults_seen:
            return
        if fast.ndshm_segment_faulted(self.segment):
            raise errors.error(
                "ERR_NDSHM_TRUNCATED",
                f"{self.who} lost pages: another process truncated the file, or there was no room for a page of it; "
                "what was lost reads as zero",
            )
        self._faults_seen = faults  # somebody else's

    # ---- the peer, the version ----

    @property
    def slot(self) -> int:
        self._lock.open()
        return self._lock.slot

    @property
    def generation(self) -> int:
        return fast.ndshm_lock_generation(self._lock.open(), self._lock.slot)

    @property
    def version(self) -> int:
        """Odd while a writer is inside, or after one has died there; each completed write adds 2."""
        return fast.ndshm_lock_version(self._lock.open())

    @property
    def owner(self) -> PeerId | None:
        """Who is inside to write."""
        handle = self._lock.open()
        slot = fast.ndshm_lock_owner(handle)
        return PeerId(slot, fast.ndshm_lock_generation(handle, slot)) if 0 <= slot < PEER_SLOTS else None

    @property
    def holding(self) -> bool:
        """Whether a thread of this process is inside by this attachment."""
        return self._lock.holding

    def has_died_inside(self) -> bool:
        """Whether a writer has died inside, and nobody has repaired it."""
        failure = Failure()
        abandoned = fast.ndshm_lock_abandoned(self._lock.open(), failure)
        if abandoned < 0:
            errors.raise_failure(failure, self.name)
        return abandoned == 1

    def is_dead(self, slot: int, generation: int) -> bool:
        """Whether a peer's life is over, as the kernel knows."""
        failure = Failure()
        dead = fast.ndshm_lock_is_dead(self._lock.open(), slot, generation, failure)
        if dead < 0:
            errors.raise_failure(failure, self.name)
        return dead == 1

    # ---- changes ----

    def arm(self) -> int:
        """The signal to wait on, to be asked for before the look at what may have changed."""
        return fast.ndshm_lock_arm(self._lock.open())

    def await_change(
        self,
        signal: int,
        watched: Sequence[tuple[int, int]],
        timeout: float | None,
        stop: Stop | None = None,
    ) -> int:
        """Blocks until the signal is another one: 1; 2 = one of `watched` has died; 0 = the time is up, or stopped.

        May return 1 without a change.
        """
        remaining = Remaining(timeout)
        self._lock.open()
        stop = stop or Stop()
        while True:
            change = self._lock.await_change(signal, watched, remaining, stop)
            if change != 0 or stop.stopped or remaining.seconds() == 0:
                return change

    def notify(self) -> None:
        """Tells everybody that something has changed, after an atomic store that says what."""
        fast.ndshm_lock_notify(self._lock.open())

    def wait_until(
        self,
        look: Callable[[], T | None],
        timeout: float | None = None,
        watched: Callable[[], Sequence[tuple[int, int]]] = tuple,
        stop: Stop | None = None,
        what: str = "Waiting for",
    ) -> T:
        """Blocks until `look` gives anything but None, now or after a change or the death of somebody watched.

        Errors: ERR_NDSHM_TIMEOUT, also when stopped; ERR_NDSHM_CLOSED, and what `look` raises.
        """
        value = look()
        if value is not None:
            return value
        remaining = Remaining(timeout)
        stop = stop or Stop()
        while True:
            signal = self.arm()
            value = look()
            if value is not None:
                return value
            if stop.stopped or remaining.seconds() == 0:
                raise self.timeout_error(what, timeout)
            self._lock.await_change(signal, watched(), remaining, stop)

    def timeout_error(self, what: str, timeout: float | None) -> errors.Error:
        """As in "Reading 'prices' took longer than 2 s"."""
        return errors.Timeout(f"{what} {self.who} took longer than {timeout or 0:g} s")

    # ---- its life ----

    def publish(self, name: str, replace: bool) -> None:
        """Gives a new segment the only name it will ever have. Errors: EEXIST …"""
        failure = Failure()
        if lib.ndshm_segment_publish(self.segment, name.encode(), replace, failure) < 0:
            errors.raise_failure(failure, name)
        self.name = name

    @property
    def descriptor(self) -> int:
        """The open file, which is the segment's own; for what is passed to other processes."""
        return fast.ndshm_segment_descriptor(self.segment)

    def unlink(self) -> None:
        """Takes the name away. Errors: ENOENT, ERR_NDSHM_STALE_HANDLE, ERR_NDSHM_ANONYMOUS."""
        if self.name is None:
            raise errors.error("ERR_NDSHM_ANONYMOUS", "An anonymous array has no name to unlink")
        failure = Failure()
        if lib.ndshm_segment_unlink(self.segment, failure) < 0:
            if failure.status == STATUS_REPLACED:
                raise errors.error(
                    "ERR_NDSHM_STALE_HANDLE", f"The name '{self.name}' means another array by now; it was left alone"
                )
            errors.raise_failure(failure, self.name)

    def close(self) -> None:
        """Leaves the peers. The elements stay mapped for as long as anything looks at them. May be called again."""
        with self._lock.opening:
            if self.closed:
                return
            self.closed = True
        if self._forget_exit is not None:
            self._forget_exit()
        attachments.pop(id(self), None)
        # Waits end before what they wait on is unmapped.
        self._lock.close()
        fast.ndshm_segment_close(self.segment)

    def __del__(self) -> None:
        # Whoever lets it be collected has said as much as by close().
        if getattr(self, "_ready", False):
            self.close()

    def rejoin(self) -> None:
        """In a forked child: becomes a peer of its own, which holds nothing."""
        self._lock.reset()
        if self.descriptor < 0:
            return  # a plain file has no peers
        failure = Failure()
        if fast.ndshm_rejoin(self.segment, self._lock.handle, failure) == 0:
            self._lock.rejoined()
        else:
            self.close()  # no peer at all, and so nothing that anybody could use
