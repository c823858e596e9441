"""Ending a wait from outside it: from another thread, or because an asyncio task was cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar, Union

T = TypeVar("T")


class ThreadId:
    """A thread, as one who holds a lock. (Python gives the number of one that has ended to the next.)"""

    __slots__ = ()


class TaskId(NamedTuple):
    """An asyncio task, as one who holds a lock."""

    task: asyncio.Task | None
    thread: ThreadId
    """In which its event loop runs."""


Identity = Union[ThreadId, TaskId]


class _Mine(threading.local):
    def __init__(self) -> None:
        self.thread = ThreadId()
        # Another one while the thread acts for a task: what it enters is the task's.
        self.identity: Identity = self.thread


_mine = _Mine()


def caller() -> Identity:
    """Who is asking: a thread, or the task that it acts for."""
    return _mine.identity


def as_task(fn: Callable[[], T]) -> T:
    """Runs `fn`, which does not wait, for the task that is running: locks that it enters or leaves are the task's."""
    _mine.identity = TaskId(asyncio.current_task(), _mine.thread)
    try:
        return fn()
    finally:
        _mine.identity = _mine.thread


class Stop:
    """Ends one wait at a time. Once stopped it stays so."""

    __slots__ = ("_word", "address", "disturb")

    def __init__(self) -> None:
        self._word = ctypes.c_uint32(0)
        self.address = ctypes.addressof(self._word)
        # Set by whoever waits: wakes what it sleeps on, for it to look at the word.
        self.disturb: Callable[[], object] | None = None

    @property
    def stopped(self) -> bool:
        return self._word.value != 0

    def stop(self) -> None:
        """May come between a wait's look at the word and its sleep: to be called until the wait has returned."""
        self._word.value = 1
        disturb = self.disturb
        if disturb is not None:
            disturb()


async def in_thread(fn: Callable[[], T], stop: Stop, undo: Callable[[T], object] | None = None) -> T:
    """Runs `fn`, which waits, in a thread of its own: any number of waits would fill the loop's executor.

    Locks that it enters are the task's. When the task is cancelled the wait is stopped and its end awaited; what it has
    come to all the same is given to `undo`.
    """
    loop = asyncio.get_running_loop()
    identity = TaskId(asyncio.current_task(), _mine.thread)
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        _mine.identity = identity
        result: T | None = None
        error: BaseException | None = None
        try:
            result = context.run(fn)
        except StopIteration as raised:
            # No future takes one; as a generator does with it.
            error = RuntimeError("What was run in a thread raised StopIteration")
            error.__cause__ = raised
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            # The loop has been closed, and nobody awaits this any more.
            if error is None and undo is not None:
                undo(result)  # type: ignore[arg-type]

    # A daemon, so that a wait nobody stops does not keep the process from ending.
    threading.Thread(target=run, name="ndshm-wait", daemon=True).start()
    try:
        # Leaves the future alone when the task is cancelled. (shield(), since Python 3.14, complains of its error.)
        await asyncio.wait({future})
    except asyncio.CancelledError:
        while not future.done():
            stop.stop()
            # Cancelled again, as asyncio.run() does at its end: what the wait has come to has to be known all the same.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({future}, timeout=0.001)
        if future.exception() is None and undo is not None:
            undo(future.result())
        raise
    return future.result()
