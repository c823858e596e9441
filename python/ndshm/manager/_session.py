"""One connection: calls of the manager's objects, and what it says of itself.

lib/manager/protocol.ts lists all messages. The manager counts our calls, and we count its own: pushes, streams and
pipes, each from 1 on.
"""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import Future
from typing import Any

from .._at_exit import close_at_exit
from .._forks import on_fork
from ..errors import Closed, Error, error
from ._dial import Stream
from ._frames import broken, write_frame
from ._limits import MAX_CALLS
from ._link import Link
from ._pipes import Pipes
from ._thrown import abort_bytes, thrown_of
from ._values import Signal, decode_answer, encode_arguments

# How long close() waits for the thread, which has nothing left to wait for.
_CLOSE_SECONDS = 5.0

_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


class _Outcome:
    """What a call gives, once all that belongs to it has come."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future
        self._missing = 1
        self._failure: Exception | None = None
        self.value: Any = None

    def expect(self) -> Any:
        self._missing += 1
        return self.settle

    def settle(self, failure: Exception | None = None) -> None:
        self._missing -= 1
        self._failure = self._failure or failure
        if self._missing == 0:
            settle(self._future, self.value, self._failure)


def settle(future: Future[Any], value: Any, failure: Exception | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(value)
    else:
        future.set_exception(failure)


class Session:
    """For any number of threads. It ends with close(), with the manager, or when nobody has anything of it any more."""

    def __init__(self, stream: Stream, heartbeat: float | None) -> None:
        self.ended_by: Error | None = None
        # Of the link's thread alone.
        self.pipes = Pipes()
        self._heard = 0
        self._lock = threading.Lock()
        # Under the lock: the number of the last call, those without an answer, signals by the numbers that we gave.
        self._last = 0
        self._pending: dict[int, Future[Any]] = {}
        self._last_signal = 0
        self._signals: dict[int, Signal] = {}
        # The thread keeps the link, and must not keep the session: whoever uses it does.
        me = weakref.ref(self)

        def hear(message: Any) -> None:
            session = me()
            if session is not None:
                session._hear(message)

        def end(reason: Error) -> None:
            session = me()
            if session is not None:
                session._end(reason)

        self._link = Link(stream, heartbeat, hear, end)
        self._link.start()
        self._forget = close_at_exit(self)
        _sessions.add(self)

    def close(self) -> None:
        """What waits fails with ERR_NDSHM_CLOSED. Safe to call twice."""
        reason = Closed("The connection to the manager has been closed")
        self._end(reason)
        self._link.end(reason)
        self._link.join(_CLOSE_SECONDS)

    def __del__(self) -> None:
        link = getattr(self, "_link", None)
        if link is not None:
            link.end(Closed("Nobody uses the connection any more"))

    def _end(self, reason: Error) -> None:
        with self._lock:
            if self.ended_by is not None:
                return
            self.ended_by = reason
            pending, self._pending = self._pending, {}
        self._forget()
        for future in pending.values():
            settle(future, None, self._lost(reason))

    @staticmethod
    def _lost(reason: Error) -> Error:
        """An error of its own for everybody: each raise adds to its traceback."""
        made = error(reason.code, str(reason))
        made.__cause__ = reason
        return made

    def leave_to_parent(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._end(error("ERR_NDSHM_STALE_PROXY", "The connection is the parent process's; connect() in this one"))
        self._link.leave_to_parent()

    # ---- to the manager ----

    def call(self, target: int, method: str, args: tuple) -> Future[Any]:
        """Calls a method of what the manager has given under this number; returns at once.

        Errors: those of encode_arguments(), ERR_NDSHM_LIMIT, ERR_NDSHM_STALE_PROXY; for the manager itself the reason
        why it cannot be called any more.
        """
        self._check(target)
        frame = write_frame(["stream", ["pipeline", target, ["call"], [method, *encode_arguments(args, self)]]])
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # so that nobody cancels it: the manager runs the call all the same
        with self._lock:
            self._check(target)
            self._link.send(frame)
            self._last += 1
            self._pending[self._last] = future
        return future

    def _check(self, target: int) -> None:
        reason = self.ended_by
        if reason is None:
            return
        if target == 0:
            raise self._lost(reason)
        what = "The object behind the proxy went with its connection to the manager; connect() again"
        stale = error("ERR_NDSHM_STALE_PROXY", what)
        stale.__cause__ = reason
        raise stale

    def release(self, number: int) -> None:
        """Gives up what the manager has given once. At any time: see Link."""
        if self.ended_by is None:
            self._link.send_at_any_time(write_frame(["release", number, 1]))

    def signal(self) -> Signal:
        with self._lock:
            self._last_signal -= 1
            signal = self._signals[self._last_signal] = Signal(self._last_signal)
        return signal

    def forget(self, signal: Signal) -> None:
        """Its call has not been sent."""
        with self._lock:
            self._signals.pop(signal.number, None)

    def abort(self, signal: Signal) -> None:
        with self._lock:
            signal.aborted = True
            self._tell(signal)

    # ---- from the manager, in the link's thread ----

    def _hear(self, message: Any) -> None:
        kind, *parts = message if isinstance(message, list) and message else [None]
        number: Any = parts[0] if parts else None
        is_numbered = type(number) is int
        if kind == "resolve" and is_numbered and len(parts) == 2:
            self._resolve(self._future(number), parts[1])
            self._drop(number)
        elif kind == "reject" and is_numbered and len(parts) == 2:
            settle(self._future(number), None, thrown_of(parts[1]))
            self._drop(number)
        elif kind in ("stream", "push") and len(parts) == 1:
            self._called(parts[0])
        elif kind == "pipe":
            self._heard += 1
            self.pipes.open(self._heard)
        elif kind == "release" and is_numbered and len(parts) == 2:
            self._released(number)
        elif kind == "pull" and is_numbered:
            pass  # whatever is called is answered
        elif kind == "abort" and parts:
            reason = thrown_of(parts[0])
            raise reason if isinstance(reason, Error) else broken(f"its last words: {reason}")
        else:
            raise broken(f"a message that no manager sends: {str(message)[:100]}")

    def _future(self, number: int) -> Future[Any]:
        with self._lock:
            future = self._pending.get(number)
        if future is None:
            raise broken("an answer to what was not asked")
        return future

    def _drop(self, number: int) -> None:
        with self._lock:
            future = self._pending.get(number)
            if future is not None and future.done():
                del self._pending[number]

    def _resolve(self, future: Future[Any], answer: Any) -> None:
        outcome = _Outcome(future)
        try:
            outcome.value = decode_answer(answer, self, outcome.expect)
        except Error as failure:
            if failure.code == "ERR_NDSHM_PROTOCOL":
                raise
            settle(future, None, failure)
        else:
            outcome.settle()

    def _called(self, call: Any) -> None:
        self._heard += 1
        if not isinstance(call, list) or len(call) != 4 or call[0] != "pipeline" or not isinstance(call[2], list):
            raise broken("a call that no manager makes")
        _, target, path, args = call
        name = path[0] if len(path) == 1 else None
        if name == "aborted" and type(target) is int:
            with self._lock:
                signal = self._signals.get(target)
                if signal is None or len(signal.waiting) >= MAX_CALLS:
                    raise broken("a call of what it was not given")
                signal.waiting.append(self._heard)
                if signal.aborted:
                    self._tell(signal)
            return
        if type(target) is not int or not isinstance(args, list):
            raise broken("a call of what it was not given")
        if name == "write":
            chunk = args[0] if len(args) == 1 else None
            if not isinstance(chunk, list) or len(chunk) != 2 or not isinstance(chunk[1], bytearray):
                raise broken("a piece of an array that is none")
            self.pipes.write(target, chunk[1])
        elif name == "close":
            self.pipes.end(target)
        elif name == "abort":
            self.pipes.end(target, thrown_of(args[0] if args else None))
        else:
            raise broken("a call of what it was not given")
        with self._lock:
            self._link.send(write_frame(["resolve", self._heard, ["undefined"]]))

    def _released(self, number: int) -> None:
        self.pipes.release(number)
        with self._lock:
            signal = self._signals.pop(number, None)
            if signal is not None:
                self._tell(signal)

    def _tell(self, signal: Signal) -> None:
        """Those who wait for a signal. Under the lock."""
        waiting, signal.waiting = signal.waiting, []
        if self.ended_by is not None:
            return
        for number in waiting:
            reason = ["bytes", abort_bytes()] if signal.aborted else ["undefined"]
            self._link.send(write_frame(["resolve", number, {"aborted": signal.aborted, "reason": reason}]))


@on_fork
def _leave_all() -> None:
    for session in tuple(_sessions):
        session.leave_to_parent()
