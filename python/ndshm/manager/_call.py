"""A call under way: waited for by a thread or a task, which may give it up."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import TYPE_CHECKING, Any

from .._options import check_timeout
from ..errors import Error, Timeout

if TYPE_CHECKING:
    from .proxy import Reach

# How long the manager may take to answer when the time of a wait is up, or it was given up.
_GRACE_SECONDS = 10.0

# Methods of built-in types that wait in the manager, by their own time-out, and how the manager is told to give up.
_WAITS = {
    *((kind, "acquire") for kind in ("lock", "rlock", "semaphore", "condition")),
    *((kind, "wait") for kind in ("condition", "event", "barrier")),
    *(("queue", method) for method in ("put", "get", "join")),
}

_HUMP = re.compile(r"_([a-z0-9])")


def camel(name: str) -> str:
    """JavaScript's way to write a Python name: set_default -> setDefault."""
    return _HUMP.sub(lambda match: match[1].upper(), name)


class Call:
    """Is under way as soon as it is made. Errors: those of Session.call()."""

    def __init__(self, reach: Reach, method: str, args: tuple, options: dict[str, Any], timeout: float | None) -> None:
        self._reach = reach
        self._method = method
        self._timeout = check_timeout(timeout)
        self._signal = None
        given = {camel(key): value for key, value in options.items()}
        session = reach.session
        if (reach.type, method) in _WAITS:
            self._signal = given["signal"] = session.signal()
            if self._timeout is not None:
                given["timeoutMs"] = self._timeout * 1000
                self._timeout += _GRACE_SECONDS
        try:
            self._future: Future[Any] = session.call(reach.number, method, (*args, given) if given else args)
        except Exception:
            if self._signal is not None:
                session.forget(self._signal)
            raise
        except BaseException:  # Ctrl-C, and it may have been sent
            if self._signal is not None:
                session.abort(self._signal)
            raise

    def result(self) -> Any:
        """Waits. Errors: what the method raises; ERR_NDSHM_TIMEOUT, and then the call may still run."""
        try:
            return self._future.result(self._timeout)
        except NotInTime as late:
            if self._future.done():
                return self._future.result()  # what it was answered, be it a time-out of the manager's
            self._give_up()
            raise self._too_late() from late
        except Error:
            raise
        except BaseException:
            if not self._future.done():
                self._give_up()  # Ctrl-C
            raise

    async def result_async(self) -> Any:
        """As result(). A task that is cancelled goes on once the manager has given its wait up."""
        future = asyncio.wrap_future(self._future)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody has seen it
        try:
            done, _ = await asyncio.wait({future}, timeout=self._timeout)
        except asyncio.CancelledError:
            self._give_up()
            if self._signal is not None:
                # Whoever waits for a condition has its lock again, however long that takes.
                holds = (self._reach.type, self._method) == ("condition", "wait")
                await asyncio.wait({future}, timeout=None if holds else _GRACE_SECONDS)
            raise
        if not done:
            self._give_up()
            raise self._too_late()
        return future.result()

    def _too_late(self) -> Timeout:
        return Timeout(f"{self._method}() was not answered in time; it may still run")

    def _give_up(self) -> None:
        """What it has come to all the same, and nobody will hear of, is given back."""
        if self._signal is not None:
            self._reach.session.abort(self._signal)
            self._future.add_done_callback(_undoing(self._reach, self._method))


def _undoing(reach: Reach, method: str) -> Callable[[Future[Any]], None]:
    def undo(future: Future[Any]) -> None:
        if future.exception() is not None:
            return
        with contextlib.suppress(Error):  # there is nothing to give back where the connection has ended
            if method == "acquire":
                reach.session.call(reach.number, "release", ())
            elif method == "get":
                # To its end: the queue has given the place away.
                reach.session.call(reach.number, "tryPut", (future.result(),))
                reach.session.call(reach.number, "taskDone", ())

    return undo
