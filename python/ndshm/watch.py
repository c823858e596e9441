"""Being told when a name comes to mean another segment."""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import select
import struct
import threading
import weakref
from types import TracebackType

from . import errors
from ._forks import on_fork
from ._layout import DIRECTORY
from ._lock import Remaining
from ._options import MODES, boolean_option, check_name, one_of
from ._segment_file import check_extent, id_of, identity_of, open_file
from .array import SharedArray, attachment_of, open

# <sys/inotify.h>: somebody has written to a file; it got this name. (That a file which may be written was closed is of
# no interest: it happens at each of our own looks.)
_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100
_INTERESTING = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE
_IN_Q_OVERFLOW = 0x4000
_EVENT = struct.Struct("iIII")

# Seconds that one poll() may take, which counts milliseconds in 32 bits.
_LONGEST = 86400

# What ndshm makes is there whole or not at all; numpy's save() shows a file while it still writes it.
_NOT_YET = ("ENOENT", "ERR_NDSHM_HEADER", "ERR_NDSHM_TRUNCATED")


def watch(name: str, mode: str = "r", since: SharedArray | None = None, *, allow_foreign_owner: bool = False) -> Watch:
    """An iterator, also an asynchronous one, of replacements: gives the array, newly opened in `mode`, each time the
    name comes to mean another segment, be it by if_exists='replace', by unlink and create, or by numpy saving a file
    there (given once it is complete). Replacements that follow each other faster than the caller asks give the latest
    one alone. With `since`, an array that the caller has, whatever has replaced it before the watch began is given at
    once.

    The watch begins with the call and ends with close(), or with its `with` block. The caller closes what it is given.
    `for` blocks, `async for` does not block the event loop; next(timeout) waits for so long at most.
    Errors: those of open(); where the name is missing or incomplete it waits.

    >>> import ndshm
    >>> prices = ndshm.from_array("demo-watch", [1, 2])
    >>> with ndshm.watch("demo-watch", since=prices) as replacements:
    ...     ndshm.from_array("demo-watch", [3, 4], if_exists="replace").close()
    ...     with next(replacements) as latest:
    ...         latest.tolist()
    [3, 4]
    >>> prices.close()
    >>> ndshm.unlink("demo-watch")
    """
    return Watch(name, mode, since, allow_foreign_owner=allow_foreign_owner)


class Watch:
    """What watch() gives."""

    def __init__(
        self, name: str, mode: str = "r", since: SharedArray | None = None, *, allow_foreign_owner: bool = False
    ) -> None:
        self._name = check_name(name)
        self._mode = one_of(mode, MODES, "mode")
        self._allow_foreign_owner = boolean_option(allow_foreign_owner, "allow_foreign_owner")
        if since is not None and not isinstance(since, SharedArray):
            raise errors.wrong_kind("a SharedArray", "since", since)
        self._begin()
        try:
            # Looked up after the watch began: between the two nothing can be missed.
            self._known = self._identify() if since is None else attachment_of(since).identity
        except BaseException:
            self.close()
            raise
        _watches.add(self)

    def _begin(self) -> None:
        self._turn = threading.Lock()  # of who waits
        self._awaiting: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._noticed = True
        self._wakes, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._descriptors = [self._wakes, self._wake]
        self._closed = False  # so far that there is something to close
        self._events = _inotify()
        self._descriptors.append(self._events)

    def next(self, timeout: float | None = None) -> SharedArray:
        """Blocks until there is another array, at most `timeout` seconds (None: for ever), and opens it in this
        process.

        Errors: ERR_NDSHM_TIMEOUT, ERR_NDSHM_CLOSED, those of open().
        """
        try:
            with self._turn:
                return self._await(timeout)
        finally:
            if self._closed:
                self._end_if_unused()

    def _await(self, timeout: float | None) -> SharedArray:
        remaining = Remaining(timeout)
        poll = select.poll()
        poll.register(self._events, select.POLLIN)
        poll.register(self._wakes, select.POLLIN)
        while True:
            found = self._look()
            if found is not None:
                return found
            left = remaining.seconds()
            if left == 0:
                raise self._timeout(timeout)
            poll.poll(None if left is None else math.ceil(min(left, _LONGEST) * 1000))

    async def next_async(self, timeout: float | None = None) -> SharedArray:
        """As next(), and does not block the event loop. One call at a time."""
        loop = asyncio.get_running_loop()
        remaining = Remaining(timeout)
        while True:
            found = self._look()
            if found is not None:
                return found
            if remaining.seconds() == 0:
                raise self._timeout(timeout)
            awaiting = loop.create_future()
            self._awaiting = (loop, awaiting)
            for descriptor in (self._events, self._wakes):
                loop.add_reader(descriptor, _settle, awaiting)
            try:
                await asyncio.wait({awaiting}, timeout=remaining.seconds())
            finally:
                self._awaiting = None
                for descriptor in (self._events, self._wakes):
                    loop.remove_reader(descriptor)
                if self._closed:
                    self._end()

    def _look(self) -> SharedArray | None:
        """The array, if it is another one by now."""
        if self._closed:
            raise errors.Closed(f"The watch of '{self._name}' has been closed")
        self._noticed = self._drain() or self._noticed
        if not self._noticed:
            return None
        self._noticed = False
        # Looked at without attaching: an attachment writes to the file, which would be noticed here again.
        identity = self._identify()
        if identity is None or identity == self._known:
            return None
        try:
            array = open(self._name, self._mode, self._allow_foreign_owner)
        except (OSError, errors.Error) as error:
            _raise_unless_missing(error)
            return None
        self._known = attachment_of(array).identity
        return array

    def _drain(self) -> bool:
        """Whether any of what has happened concerns the name."""
        name = self._name.encode()
        concerned = False
        while True:
            try:
                events = os.read(self._events, 1 << 16)
            except BlockingIOError:
                return concerned
            at = 0
            while at < len(events):
                _, mask, _, length = _EVENT.unpack_from(events, at)
                at += _EVENT.size
                concerned = concerned or bool(mask & _IN_Q_OVERFLOW) or events[at : at + length].rstrip(b"\0") == name
                at += length

    def _identify(self) -> str | None:
        try:
            with open_file(self._name) as file:
                header = file.header(self._name)
                check_extent(self._name, header, file.facts.size)
                return identity_of(id_of(file.control(header.data_offset, header.data_bytes)), file.facts)
        except (OSError, errors.Error) as error:
            _raise_unless_missing(error)
            return None

    def _timeout(self, timeout: float | None) -> errors.Error:
        return errors.Timeout(f"Waiting for another '{self._name}' took longer than {timeout or 0:g} s")

    def close(self) -> None:
        """Ends the watch; whoever waits gets ERR_NDSHM_CLOSED, and a loop over it ends. May be called again."""
        if self._closed:
            return
        self._closed = True
        os.write(self._wake, b"\0")
        if self._awaiting is not None and not self._awaiting[0].is_closed():
            return  # it ends when its event loop no longer looks at its descriptors
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        """Not while somebody waits, who does it then: our own thread may, if a signal's handler closes the watch."""
        if self._turn.acquire(False):
            try:
                self._end()
            finally:
                self._turn.release()

    def _end(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def renew(self) -> None:
        """In a forked child: events that it reads would be lost to its parent."""
        if self._closed:
            return
        self._end()
        self._begin()

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> SharedArray:
        try:
            return self.next()
        except errors.Closed:
            raise StopIteration from None

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> SharedArray:
        try:
            return await self.next_async()
        except errors.Closed:
            raise StopAsyncIteration from None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()


_watches: weakref.WeakSet[Watch] = weakref.WeakSet()


@on_fork
def _renew_all() -> None:
    for each in tuple(_watches):
        each.renew()


def _settle(awaiting: asyncio.Future[None]) -> None:
    if not awaiting.done():
        awaiting.set_result(None)


def _raise_unless_missing(error: Exception) -> None:
    if getattr(error, "code", None) not in _NOT_YET:
        raise error


def _inotify() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if events < 0:
        raise errors.system_error(ctypes.get_errno(), None, "inotify_init1")
    if libc.inotify_add_watch(events, DIRECTORY.encode(), _INTERESTING) < 0:
        os.close(events)
        raise errors.system_error(ctypes.get_errno(), None, "inotify_add_watch")
    return events
