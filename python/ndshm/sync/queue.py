from __future__ import annotations

import queue as stdlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

from .. import codec
from .._options import integer_in
from ..errors import Error, Timeout, error
from ._monitor import Blocked, Monitor, Step
from ._named_state import Parameter, StateSpec
from ._primitive import Primitive
from ._task_line import TaskLine

# How many items have been put and taken, both modulo 2 * max_items, so that their difference tells empty from full;
# whether there will be more; and where in the bytes each item lies: number n is described at n modulo max_items.
_PUT, _TAKEN, _SHUT, _ITEMS = range(4)
_ITEM_WORDS = 2  # where it begins, its length


class QueueEmpty(Timeout, stdlib.Empty):
    """No item came in time: ERR_NDSHM_TIMEOUT."""

    code = Timeout.code


class QueueFull(Timeout, stdlib.Full):
    """There was no room in time: ERR_NDSHM_TIMEOUT."""

    code = Timeout.code


# Since Python 3.13 the standard library has a name for it.
_ShutDown: Any = getattr(stdlib, "ShutDown", Exception)


class QueueShutDown(Error, _ShutDown):
    """The queue has been shut down: ERR_NDSHM_SHUT_DOWN."""

    code = "ERR_NDSHM_SHUT_DOWN"


class _Counts(NamedTuple):
    put: int
    taken: int
    size: int


class Queue(Primitive[Monitor]):
    """A bounded queue of values by name, for any number of producers and consumers: queue.Queue across processes.

    First in, first out. Values are what put() of a store takes (numbers, strings, bytes, lists, dicts, datetimes, numpy
    arrays ...; never code, as pickle would), and are copied; large arrays are better passed as the handle of a
    SharedArray. Node reads what Python has put, and the reverse.

    An item is in the queue whole or not at all: what a producer that died was putting is not, and what a consumer that
    died had not taken yet is. Of one event loop, items enter in the order of its put_async() calls.

    Args:
        name: What all processes call it.
        max_items: How many items it holds at most, default 4096. If the queue exists: has to be what it was made with,
            where given.
        max_bytes: How many bytes all items together have at most, encoded; default 1 MiB. Likewise.
        ephemeral: It belongs to its users: gone with the last one that closes it. Default False: until unlink().
        allow_foreign_owner: Open one that belongs to another user. Default False.

    Opens it, or makes it, empty; does not block. Errors: ERR_NDSHM_MISMATCH if it was made with other options or the
    name means something else, and those of create(). Errors of all methods: ERR_NDSHM_CLOSED.

    Example:
        >>> import ndshm
        >>> jobs = ndshm.Queue("jobs", max_items=100, ephemeral=True)
        >>> jobs.put({"task": "resize", "size": [640, 480]})
        >>> jobs.get(timeout=1)  # in any process
        {'task': 'resize', 'size': [640, 480]}
        >>> jobs.close()
    """

    def __init__(
        self,
        name: str,
        max_items: int | None = None,
        max_bytes: int | None = None,
        *,
        ephemeral: bool = False,
        allow_foreign_owner: bool = False,
    ) -> None:
        if max_items is not None:
            integer_in(max_items, 1, 2**24, "max_items")
        if max_bytes is not None:
            integer_in(max_bytes, 16, 2**31 - 1, "max_bytes")
        parameters = (Parameter("max_items", max_items, 4096), Parameter("max_bytes", max_bytes, 2**20))
        spec = StateSpec("Queue", _size, parameters)
        super().__init__(Monitor(name, spec, ephemeral=ephemeral, allow_foreign_owner=allow_foreign_owner))
        self._max_items, self._max_bytes = self._state.parameters
        if min(self._max_items, self._max_bytes) < 1:
            self.close()
            raise self._corrupt()
        self._words = self._state.words
        self._puts = TaskLine()  # an item that would fit does not overtake one that does not
        self._gets = TaskLine()

    @property
    def max_items(self) -> int:
        return self._max_items

    @property
    def max_bytes(self) -> int:
        return self._max_bytes

    def qsize(self) -> int:
        """How many items are inside now."""
        self._state.check()
        return self._inside(self._words[_PUT], self._words[_TAKEN])

    def empty(self) -> bool:
        """Whether no item is inside now."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Whether max_items are inside now."""
        return self.qsize() == self._max_items

    @property
    def is_shutdown(self) -> bool:
        """Whether shutdown() has been called."""
        self._state.check()
        return self._words[_SHUT] != 0

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Appends a value; blocks until there is room.

        A large item may wait for as long as others fill the room with small ones. Errors: QueueFull (ERR_NDSHM_TIMEOUT,
        a queue.Full) after `timeout` seconds (default: never), or at once with block=False; ERR_NDSHM_OUT_OF_RANGE for
        an item larger than max_bytes, ERR_NDSHM_INVALID_ARGUMENT for what cannot be encoded (a function), QueueShutDown
        (ERR_NDSHM_SHUT_DOWN).
        """
        append = self._appending(item)
        if block:
            try:
                self._state.transact(append, timeout)
            except Timeout as late:
                raise QueueFull(str(late)) from None
        elif self._state.attempt(append) is None:
            raise QueueFull(f"The queue '{self.name}' has no room now")

    def put_nowait(self, item: Any) -> None:
        """put() with block=False."""
        self.put(item, block=False)

    async def put_async(self, item: Any, timeout: float | None = None) -> None:
        """put(), but without blocking the event loop. Cancelled, it has put nothing."""
        try:
            await self._state.transact_in_line(self._puts, self._appending(item), timeout)
        except Timeout as late:
            raise QueueFull(str(late)) from None

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Takes the oldest item; blocks until there is one.

        Arrays in it are read-only, and views of one copy. Errors: QueueEmpty (ERR_NDSHM_TIMEOUT, a queue.Empty) after
        `timeout` seconds (default: never), or at once with block=False; QueueShutDown (ERR_NDSHM_SHUT_DOWN, in Python
        3.13 a queue.ShutDown) once the queue is shut down and empty.
        """
        if not block:
            found = self._state.attempt(self._take)
            if found is None:
                raise QueueEmpty(f"The queue '{self.name}' has no item now")
            return codec.decode(found)
        try:
            return codec.decode(self._state.transact(self._take, timeout))
        except Timeout as late:
            raise QueueEmpty(str(late)) from None

    def get_nowait(self) -> Any:
        """get() with block=False."""
        return self.get(block=False)

    async def get_async(self, timeout: float | None = None) -> Any:
        """get(), but without blocking the event loop. Cancelled, it has taken nothing."""
        try:
            return codec.decode(await self._state.transact_in_line(self._gets, self._take, timeout))
        except Timeout as late:
            raise QueueEmpty(str(late)) from None

    def shutdown(self) -> None:
        """Says that nothing more will come, as Queue.shutdown() of Python 3.13.

        put() fails from now on, in every process, and get() once the items inside have been taken.
        """

        def shut() -> bool:
            self._words.store(_SHUT, 1)
            return True

        self._state.attempt(shut)

    def __iter__(self) -> Iterator[Any]:
        """Takes item after item, blocking; ends when the queue is shut down and empty."""
        while True:
            try:
                item = self.get()
            except QueueShutDown:
                return
            yield item

    async def __aiter__(self) -> AsyncIterator[Any]:
        """As iteration, without blocking the event loop."""
        while True:
            try:
                item = await self.get_async()
            except QueueShutDown:
                return
            yield item

    def _inside(self, put: int, taken: int) -> int:
        return (put - taken) % (2 * self._max_items)

    def _place(self, number: int) -> tuple[int, int]:
        """Where the item of this number lies, and how long it is."""
        at = _ITEMS + number % self._max_items * _ITEM_WORDS
        start, length = self._words[at], self._words[at + 1]
        if start >= self._max_bytes or not 1 <= length <= self._max_bytes:
            raise self._corrupt()
        return start, length

    def _counts(self) -> _Counts:
        """Checked: the words may hold anything."""
        put, taken = self._words[_PUT], self._words[_TAKEN]
        size = self._inside(put, taken)
        if max(put, taken) >= 2 * self._max_items or size > self._max_items:
            raise self._corrupt()
        return _Counts(put, taken, size)

    def _appending(self, value: Any) -> Step[bool]:
        item = codec.to_bytes(value)
        if len(item) > self._max_bytes:
            raise error(
                "ERR_NDSHM_OUT_OF_RANGE",
                f"The item has {len(item)} bytes, encoded; the queue '{self.name}' takes {self._max_bytes}. Make it "
                "with larger max_bytes, or pass the handle of a SharedArray",
            )
        return lambda: self._append(item)

    def _append(self, item: bytes) -> bool | Blocked:
        if self._words[_SHUT] != 0:
            raise self._shut_down()
        put, taken, size = self._counts()
        start = used = 0
        if size > 0:
            first, _ = self._place(taken)
            last, length = self._place(put + 2 * self._max_items - 1)
            start = (last + length) % self._max_bytes
            used = (start - first - 1) % self._max_bytes + 1  # never 0: then all of it
        if size == self._max_items or len(item) > self._max_bytes - used:
            return Blocked()
        memory = self._state.bytes
        until_end = min(len(item), self._max_bytes - start)
        memory[start : start + until_end] = item[:until_end]
        memory[: len(item) - until_end] = item[until_end:]
        at = _ITEMS + put % self._max_items * _ITEM_WORDS
        self._words.store(at, start)
        self._words.store(at + 1, len(item))
        self._words.store(_PUT, self._next(put))  # until here nobody sees it
        return True

    def _take(self) -> bytes | Blocked:
        _, taken, size = self._counts()
        if size == 0:
            if self._words[_SHUT] != 0:
                raise self._shut_down()
            return Blocked()
        start, length = self._place(taken)
        memory = self._state.bytes
        until_end = min(length, self._max_bytes - start)
        item = bytes(memory[start : start + until_end]) + bytes(memory[: length - until_end])
        self._words.store(_TAKEN, self._next(taken))  # until here it is still inside
        return item

    def _next(self, count: int) -> int:
        return (count + 1) % (2 * self._max_items)

    def _shut_down(self) -> Error:
        return QueueShutDown(f"The queue '{self.name}' has been shut down")

    def _corrupt(self) -> Error:
        return error("ERR_NDSHM_CONTROL_CORRUPT", f"The queue '{self.name}' has been overwritten; create it anew")


def _size(max_items: int, max_bytes: int) -> tuple[int, int]:
    return _ITEMS + _ITEM_WORDS * max_items, (max_bytes + 7) // 8 * 8
