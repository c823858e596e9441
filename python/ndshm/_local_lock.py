"""The order among the threads of this process that use one attachment, which to the others are one peer."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress

from ._stop import Identity, Stop


class Waiter:
    """A caller in line."""

    __slots__ = ("identity", "joined", "reads", "woken")

    def __init__(self, reads: bool, identity: Identity) -> None:
        self.reads = reads
        self.identity = identity
        self.joined = False  # was let in by readers who are inside
        self.woken = threading.Lock()
        self.woken.acquire()

    def wake(self) -> None:
        with suppress(RuntimeError):  # has been woken already
            self.woken.release()


class LocalLock:
    """Whoever has the gate acts for the process: is inside, or on the way in. A group of readers has it together."""

    __slots__ = ("gate", "line")

    def __init__(self) -> None:
        self.gate = threading.Lock()
        self.line: deque[Waiter] = deque()

    def wait(self, waiter: Waiter, timeout: float | None, stop: Stop) -> bool:
        """Blocks until the waiter's turn has come, and it has the gate or has joined; False = too late, or stopped."""
        self.line.append(waiter)
        stop.disturb = waiter.wake
        try:
            self.advance()
            if not stop.stopped:
                waiter.woken.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))
        except BaseException:
            # A signal's handler has raised, or so.
            if not self._withdraw(waiter) and not waiter.joined:
                self.release()
            raise
        finally:
            stop.disturb = None
        return not self._withdraw(waiter)

    def _withdraw(self, waiter: Waiter) -> bool:
        """Out of the line; False = its turn has come."""
        try:
            self.line.remove(waiter)
        except ValueError:
            return False
        return True

    def release(self) -> None:
        """Gives the gate to the first in line, or opens it."""
        try:
            first = self.line.popleft()
        except IndexError:
            self.gate.release()
            self.advance()
        else:
            first.wake()

    def advance(self) -> None:
        """Lets the first in line have the gate, if that is open: it may have been opened before he was in line."""
        if self.line and self.gate.acquire(False):
            self.release()
