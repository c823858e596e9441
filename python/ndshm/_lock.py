"""The reader-writer lock of a segment, as one attachment takes part in it (docs/concurrency.md)."""

from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from ctypes import ArgumentError
from typing import TYPE_CHECKING, NamedTuple

from . import errors
from ._layout import READ_ONLY_PEER
from ._library import FOREVER, Failure, fast, lib, untyped
from ._living import living
from ._local_lock import LocalLock, Waiter
from ._options import check_timeout
from ._stop import Identity, Stop, TaskId, caller

if TYPE_CHECKING:
    from ._attachment import Attachment

SLICE = 0.1
"""Seconds that a blocking call may take, so that signals (Ctrl-C) are handled soon."""
BLIND_SLICE = 0.01
"""A peer that may only read cannot ask to be told of changes, and so looks again and again."""


class PeerId(NamedTuple):
    """One life of one attachment: a slot and its generation never come again together."""

    slot: int
    generation: int


class Remaining:
    """What is left of a timeout."""

    __slots__ = ("_end", "timeout")

    def __init__(self, timeout: float | None) -> None:
        self.timeout = check_timeout(timeout)
        self._end = None if self.timeout is None else time.monotonic() + self.timeout

    def seconds(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def slice(self, longest: float = SLICE) -> tuple[int, bool]:
        """Nanoseconds to wait next, and whether it is for the last time."""
        left = self.seconds()
        if left is None:
            # Signals are handled in the main thread alone.
            in_main = threading.current_thread() is threading.main_thread()
            return (int(longest * 1e9) if in_main or longest < SLICE else FOREVER), False
        return int(min(left, longest) * 1e9), left <= longest


# Arguments of untyped() functions; what stands for a lock that is closed is none, and so an ArgumentError.
_at_once, _never = ctypes.c_uint64(0), ctypes.c_void_p(None)
_changed, _unchanged = ctypes.c_int32(0), ctypes.c_int32(1)
_no_lock = object()

_open_locks: weakref.WeakValueDictionary[int, SegmentLock] = weakref.WeakValueDictionary()


class SegmentLock:
    """`True` from an entry: inside, and the data may be half-written. `None`: not within the time, or stopped.

    Uncontended ways in and out are one call of the core each, which keeps the GIL.
    """

    __slots__ = (
        "__weakref__",
        "_abandoned",
        "_attachment",
        "_failure",
        "_failure_at",
        "_gate",
        "_guard",
        "_key",
        "_leave_read",
        "_leave_write",
        "_line",
        "_local",
        "_readers",
        "_try_read",
        "_try_write",
        "_waits",
        "_writer",
        "handle",
        "opening",
        "slot",
    )

    def __init__(self, attachment: Attachment) -> None:
        # It has us: together they would be a cycle, which nobody collects soon.
        self._attachment = weakref.proxy(attachment)
        self.handle: int | None = None  # of the core's lock; None = not opened yet, or closed
        self.slot = READ_ONLY_PEER
        # Only for calls that keep the GIL until the caller has looked at it.
        self._failure = Failure()
        self._failure_at = ctypes.byref(self._failure)
        self._key: object = _no_lock
        self._try_write, self._leave_write = untyped("ndshm_lock_enter_write"), untyped("ndshm_lock_leave_write")
        self._try_read, self._leave_read = untyped("ndshm_lock_enter_read"), fast.ndshm_lock_leave_read
        self.reset()

    def reset(self) -> None:
        """As new: nobody is inside or waits. In a forked child the threads that did are not."""
        self.opening = threading.RLock()  # of whoever opens or closes it
        self._local = LocalLock()
        self._gate, self._line = self._local.gate, self._local.line
        self._guard = threading.Lock()  # of the readers
        self._writer: Identity | None = None
        self._readers: list[Identity] = []
        self._abandoned = False  # what those who read were told
        self._waits: dict[Stop, int] = {}  # and the thread that waits

    # ---- writing ----

    def enter_write(self, timeout: float | None = None, stop: Stop | None = None) -> bool | None:
        """Blocks until alone inside. Errors: ERR_NDSHM_DEADLOCK, ERR_NDSHM_READ_ONLY, ERR_NDSHM_CLOSED …"""
        if not self._line and self._gate.acquire(False):
            try:
                entered = self._try_write(self._key, _at_once, _never, self._failure_at)
                if entered > 0:
                    self._writer = caller()
                    return entered == 2
            except ArgumentError:
                entered = -1  # not opened yet, or closed
            except BaseException:
                self._abort_entry(False)
                raise
            if entered == 0 and timeout == 0:
                self._local.release()
                return None
            return self._wait_inside(False, timeout, stop or Stop(), caller())
        return self._enter_in_turn(False, timeout, stop)

    def leave_write(self, unchanged: bool = False) -> None:
        """`unchanged`: nothing was stored: nobody is told, and what was abandoned stays so."""
        if self._writer is None:
            raise self._not_held()
        failure = None
        try:
            left = self._leave_write(self._key, _unchanged if unchanged else _changed, self._failure_at)
            if left != 0:
                failure = errors.failure_error(self._failure, self._attachment.name)
        finally:  # also if Ctrl-C comes between
            self._writer = None
            if self._line:
                self._local.release()
            else:
                self._gate.release()
                if self._line:
                    self._local.advance()
        if failure is not None:
            raise failure

    # ---- reading ----

    def enter_read(self, timeout: float | None = None, stop: Stop | None = None) -> bool | None:
        """Blocks until inside together with other readers. Errors: as for enter_write()."""
        if not self._line and self._gate.acquire(False):
            try:
                entered = self._try_read(self._key, _at_once, _never, self._failure_at)
                if entered > 0:
                    return self._begin_read(entered == 2, caller())
            except ArgumentError:
                entered = -1
            except BaseException:
                self._abort_entry(True)
                raise
            if entered == 0 and timeout == 0:
                self._local.release()
                return None
            return self._wait_inside(True, timeout, stop or Stop(), caller())
        return self._enter_in_turn(True, timeout, stop)

    def _begin_read(self, abandoned: bool, me: Identity) -> bool:
        line = self._line
        with self._guard:
            self._abandoned = abandoned
            self._readers.append(me)
            while line and line[0].reads:
                try:
                    waiter = line.popleft()
                except IndexError:
                    break  # has just withdrawn
                waiter.joined = True
                self._readers.append(waiter.identity)
                waiter.wake()
        return abandoned

    def _join(self, me: Identity) -> bool:
        """In with the readers who are inside, unless a writer waits somewhere; but whoever reads may read again."""
        with self._guard:
            readers = self._readers
            if readers and (me in readers or (not self._line and fast.ndshm_lock_owner(self.handle) < 0)):
                readers.append(me)
                return True
        return False

    def leave_read(self) -> None:
        me = caller()
        with self._guard:
            readers = self._readers
            if not readers:
                raise self._not_held()
            try:
                if me in readers:
                    readers.remove(me)
                else:
                    readers.pop()
            finally:  # also if Ctrl-C comes between
                if not readers:
                    try:
                        self._leave_read(self.handle)
                    finally:
                        self._local.release()

    # ---- waiting ----

    def _enter_in_turn(self, reads: bool, timeout: float | None, stop: Stop | None) -> bool | None:
        """Another thread, or another call of this one, has the gate."""
        me = caller()
        if self._attachment.closed:
            self._attachment.check()
        if reads and self._join(me):
            return self._abandoned
        if timeout == 0:
            return None
        self._check_deadlock(me, reads)
        remaining = Remaining(timeout)
        stop = stop or Stop()
        waiter = Waiter(reads, me)
        try:
            with _Wait(self, stop):
                arrived = self._local.wait(waiter, remaining.seconds(), stop)
        except BaseException:
            if waiter.joined:
                self.leave_read()
            raise
        if waiter.joined:
            if not self._attachment.closed:
                return self._abandoned
        elif arrived:
            return self._wait_inside(reads, remaining, stop, me)
        self._attachment.check()
        return None

    def _wait_inside(self, reads: bool, timeout: float | Remaining | None, stop: Stop, me: Identity) -> bool | None:
        """Having the gate: until inside."""
        entered = 0
        try:
            remaining = timeout if isinstance(timeout, Remaining) else Remaining(timeout)
            handle = self.open()
            if self.slot == READ_ONLY_PEER:
                raise self._read_only()
            if remaining.timeout != 0:
                self._check_neighbours(me, reads)
            enter = lib.ndshm_lock_enter_read if reads else lib.ndshm_lock_enter_write
            failure = Failure()
            with _Wait(self, stop):
                stop.disturb = self.disturb
                try:
                    last = False
                    while entered == 0 and not last and not stop.stopped:
                        nanoseconds, last = remaining.slice()
                        entered = enter(handle, nanoseconds, stop.address, ctypes.addressof(failure))
                finally:
                    stop.disturb = None
            if entered < 0:
                errors.raise_failure(failure, self._attachment.name)
            # A signal's handler may have closed it since.
            if entered == 0 or self._attachment.closed:
                self._attachment.check()
            if entered > 0 and reads:
                return self._begin_read(entered == 2, me)
        except BaseException:
            self._abort_entry(reads)
            raise
        if entered == 0:
            self._local.release()
            return None
        self._writer = me
        return entered == 2

    def _abort_entry(self, reads: bool) -> None:
        """Having the gate: out again. A signal's handler (Ctrl-C) can raise when the core has let us in already, before
        anybody has looked at its answer."""
        if self._readers:
            self.leave_read()  # others may have joined
            return
        handle = self.handle
        if handle is not None and self.slot != READ_ONLY_PEER:
            if reads:
                fast.ndshm_lock_leave_read(handle)
            elif fast.ndshm_lock_owner(handle) == self.slot:
                self._leave_write(self._key, _unchanged, self._failure_at)
        self._local.release()

    def disturb(self) -> None:
        """Wakes whoever sleeps on the words, here and elsewhere."""
        with suppress(ArgumentError):  # closed: nobody sleeps on them here
            fast.ndshm_lock_disturb(self.handle)

    def await_change(self, signal: int, watched: Sequence[tuple[int, int]], remaining: Remaining, stop: Stop) -> int:
        """One slice of a wait: 1 = changed, 2 = one of `watched` has died, 0 = neither."""
        pairs = (ctypes.c_uint32 * (2 * len(watched)))(*(number for peer in watched for number in peer))
        failure = Failure()
        handle = self.handle
        nanoseconds, _ = remaining.slice(BLIND_SLICE if self.slot == READ_ONLY_PEER else SLICE)
        with _Wait(self, stop):
            stop.disturb = self.disturb
            try:
                change = lib.ndshm_lock_await_change(
                    handle, signal, pairs, len(watched), nanoseconds, stop.address, failure
                )
            finally:
                stop.disturb = None
        if change < 0:
            errors.raise_failure(failure, self._attachment.name)
        return change

    # ---- what can be wrong ----

    def _check_deadlock(self, me: Identity, reads: bool) -> None:
        if self._writer is not None and _blocks(self._writer, me):
            raise self._deadlock("a lock", reads)
        if any(_blocks(reader, me) for reader in tuple(self._readers)):
            raise self._deadlock("a read lock", reads)

    def _check_neighbours(self, me: Identity, reads: bool) -> None:
        """Other attachments of the same segment: what the caller holds by them nobody lets go while he waits."""
        for other in living(_open_locks):
            if other is self or not other.holding or not self._is_of_same_segment(other):
                continue
            both_read = reads and other._writer is None
            if both_read and fast.ndshm_lock_owner(self.handle) < 0:
                continue
            other._check_deadlock(me, reads)

    def _is_of_same_segment(self, other: SegmentLock) -> bool:
        mine = self._attachment.id
        try:
            return other._attachment.id == mine
        except (errors.Error, ReferenceError):
            return False  # closed or collected meanwhile, or truncated: not what the caller has asked about

    def _deadlock(self, held: str, reads: bool) -> errors.Error:
        return errors.Deadlock(
            f"The caller, or another one in its thread, holds {held} on {self._attachment.who} and would wait for "
            f"itself to {'read' if reads else 'write'} it"
        )

    def _not_held(self) -> errors.Error:
        if self._attachment.closed:
            return errors.closed_error(self._attachment.who)
        return errors.NotOwned(f"The lock of {self._attachment.who} is not held here")

    def _read_only(self) -> errors.Error:
        return errors.error(
            "ERR_NDSHM_READ_ONLY",
            f"This user may not write to {self._attachment.who}, and so cannot take its lock; snapshot() reads without",
        )

    # ---- its life ----

    def open(self) -> int:
        """The core's lock, mapped when first asked for. Errors: ERR_NDSHM_NO_CONTROL, ERR_NDSHM_CLOSED …"""
        attachment = self._attachment
        attachment.check()
        if self.handle is None:
            with self.opening:
                if self.handle is None:
                    self._open()
        assert self.handle is not None
        return self.handle

    def _open(self) -> None:
        attachment = self._attachment
        attachment.check()
        handle, failure = ctypes.c_void_p(), Failure()
        found = lib.ndshm_lock_open(attachment.segment, handle, failure)
        if found < 0:
            errors.raise_failure(failure, attachment.name)
        if found == 0 or handle.value is None:
            raise errors.error(
                "ERR_NDSHM_NO_CONTROL",
                f"{attachment.who} has no lock words: it is a plain .npy file or raw memory, and not of ndshm's making",
            )
        self.slot = lib.ndshm_lock_slot(handle.value)
        self.handle, self._key = handle.value, handle
        _open_locks[id(self)] = self

    def rejoined(self) -> None:
        """In a forked child, which is a peer of its own now."""
        if self.handle is not None:
            self.slot = fast.ndshm_lock_slot(self.handle)

    @property
    def holding(self) -> bool:
        return self._writer is not None or bool(self._readers)

    def close(self) -> None:
        """After the attachment has said that it is closed. What is held is left as if this process had died."""
        me = threading.get_ident()
        while self._waits:
            waits = tuple(self._waits.items())
            for stop, _ in waits:
                stop.stop()
            # Our own wait ends when we return to it: a signal's handler closes the array.
            if all(thread == me for _, thread in waits):
                break
            _settle(self._waits)
        with self.opening:
            handle, self.handle, self._key = self.handle, None, _no_lock
        _open_locks.pop(id(self), None)
        self._writer = None
        self._readers.clear()
        if handle is not None:
            fast.ndshm_lock_close(handle)


def _blocks(holder: Identity, me: Identity) -> bool:
    """Whether the holder cannot let go before the caller returns."""
    if holder == me:
        return True
    if isinstance(me, TaskId):
        # A plain `with` around an await: the event loop's thread holds it, for whichever task.
        return holder == me.thread
    return isinstance(holder, TaskId) and holder.thread == me


_ended = threading.Condition()


def _renew() -> None:
    """In a forked child, whose parent's other threads may have been in there."""
    global _ended
    _ended = threading.Condition()


os.register_at_fork(after_in_child=_renew)


def _settle(waits: dict[Stop, int]) -> None:
    """Until one of them has ended, or it is time to disturb them again."""
    with _ended:
        _ended.wait_for(lambda: not waits, timeout=0.001)


class _Wait:
    """A wait that close() has to end before it takes away what is waited on."""

    __slots__ = ("_lock", "_stop")

    def __init__(self, lock: SegmentLock, stop: Stop) -> None:
        self._lock = lock
        self._stop = stop

    def __enter__(self) -> None:
        self._lock._waits[self._stop] = threading.get_ident()
        # Either close() sees the wait, or we that it has come before.
        if self._lock._attachment.closed:
            self._end()
            self._lock._attachment.check()

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._lock._waits.pop(self._stop, None)
        with _ended:
            _ended.notify_all()
