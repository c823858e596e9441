from __future__ import annotations

import asyncio
from typing import Any, Callable, TypeVar

from .._holds import WriteHold
from .._lock import PeerId
from .._options import integer_in
from .._stop import Identity, caller
from ..errors import Abandoned, Error, NotOwned, Timeout, wrong_kind
from ._deadline import Deadline
from ._exclusive import Exclusive
from ._named_state import NamedState, StateSpec
from ._waiters import Waiters

T = TypeVar("T")

_EVERYBODY = 2**31 - 1


class Condition(Exclusive):
    """A named lock, and waiting inside it for others to say that something has changed: threading.Condition.

    The lock is that of Mutex, and survives its holder likewise. notify() wakes so many of those who wait, the longest
    waiting first; if one of them dies before it has the lock again, the next one wakes in its place. Waiters are
    threads and tasks of any processes; at most 1024 wait. A forked child neither holds the lock nor waits.

    Args:
        name: What all processes call it.
        ephemeral: It belongs to its users: gone with the last one that closes it. Default False: until unlink().
        allow_foreign_owner: Open one that belongs to another user. Default False.

    Opens it, or makes it; does not block. Errors: ERR_NDSHM_MISMATCH if the name means something else, and those of
    open(). Errors of all methods: ERR_NDSHM_CLOSED.

    Example:
        >>> import ndshm, threading
        >>> changed = ndshm.Condition("changed", ephemeral=True)
        >>> full = []  # something shared, mostly the elements of an array
        >>> def fill():
        ...     with changed:
        ...         full.append(1)
        ...         changed.notify()
        >>> with changed:
        ...     producer = threading.Thread(target=fill)
        ...     producer.start()
        ...     changed.wait_for(lambda: full, timeout=1)
        [1]
        >>> producer.join()
        >>> changed.close()
    """

    def __init__(self, name: str, *, ephemeral: bool = False, allow_foreign_owner: bool = False) -> None:
        spec = StateSpec("Condition", lambda: (Waiters.WORDS, 0))
        super().__init__(NamedState(name, spec, ephemeral=ephemeral, allow_foreign_owner=allow_foreign_owner))
        self._waiters = Waiters(self._state)
        # All that follows is changed by whoever has the lock: the thread that has it, or in which the task runs that
        # has.
        self._thread: Identity | None = None
        # Who waits has been notified since the lock was taken, and is to be told once it is free.
        self._notified = False
        # What an owner that died inside has left is being repaired: the next release() takes the mark away.
        self._repairing = False

    def wait(self, timeout: float | None = None) -> bool:
        """Lets the lock go, blocks until it is notified, takes the lock again. False = the time was up.

        However it ends, the lock is held then, unless the condition has been closed; and so it may take longer than
        `timeout` seconds (default: for ever). Errors: ERR_NDSHM_NOT_OWNED if the lock is not held; ERR_NDSHM_ABANDONED
        if one who had it meanwhile has died inside; ERR_NDSHM_FULL if 1024 wait already.
        """
        wait = _Wait(self, timeout)
        while not wait.over:
            try:
                self._state.until(wait.look, wait.deadline, wait.watched)
            except BaseException as failure:
                wait.failed(failure)
            wait.returned(self._enter_again(wait))
        return wait.result

    def _enter_again(self, wait: _Wait) -> bool | None:
        while True:
            try:
                return self._attachment.enter_write()
            except Exception:
                raise
            except BaseException as interrupt:
                wait.failed(interrupt)

    async def wait_async(self, timeout: float | None = None) -> bool:
        """wait(), but without blocking the event loop. Cancelled, it holds the lock too; its notification goes on."""
        wait = _Wait(self, timeout)
        while not wait.over:
            try:
                await self._state.until_async(wait.look, wait.deadline, wait.watched)
            except BaseException as failure:
                wait.failed(failure)
            wait.returned(await self._enter_again_async(wait))
        return wait.result

    async def _enter_again_async(self, wait: _Wait) -> bool:
        while True:
            hold = WriteHold(self._attachment, "repair")
            try:
                await hold.__aenter__()
            except asyncio.CancelledError as cancelled:
                wait.failed(cancelled)
            else:
                return hold.abandoned

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Blocks until the predicate gives something true, and gives that; the last it has given if the time is up.

        It looks at once, and after every notification, inside the lock. Fails as wait() does.
        """
        _check_predicate(predicate)
        deadline = Deadline(timeout, self.name)
        result = predicate()
        while not result and self.wait(deadline.seconds()):
            result = predicate()
        return result or predicate()

    async def wait_for_async(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """wait_for(), but without blocking the event loop."""
        _check_predicate(predicate)
        deadline = Deadline(timeout, self.name)
        result = predicate()
        while not result and await self.wait_async(deadline.seconds()):
            result = predicate()
        return result or predicate()

    def notify(self, n: int = 1) -> None:
        """Wakes `n` of those who wait, or as many as there are; each goes on once it has the lock. Does not block.

        Errors: ERR_NDSHM_NOT_OWNED if the lock is not held.
        """
        integer_in(n, 0, _EVERYBODY, "the number of waiters to notify")
        self._check_held("notify()")
        if self._waiters.notify(n):
            self._notified = True

    def notify_all(self) -> None:
        """Wakes all who wait."""
        self.notify(_EVERYBODY)

    def _entered(self, abandoned: bool) -> None:
        self._thread = caller()
        self._notified = False
        self._repairing = abandoned

    def _let_go(self, unrepaired: bool) -> None:
        self._check_held("release()")
        notified, self._notified = self._notified, False
        self._thread = None
        # The words under the lock are ours alone, and nobody asks for their version: who waits is told by notify()
        # only.
        super()._let_go(unrepaired or not self._repairing)
        if notified:
            self._attachment.notify()

    def _check_held(self, what: str) -> None:
        self._state.check()
        # After a fork the child has the thread, and not the lock.
        if self._thread != caller() or not self._attachment.holding:
            raise NotOwned(f"{what} needs the lock of the condition '{self.name}'; acquire() it first")


class _Wait:
    """One wait: an entry in the table, for which its thread alone is responsible."""

    def __init__(self, condition: Condition, timeout: float | None) -> None:
        self.deadline = Deadline(timeout, condition.name)
        self.over = False
        self.result = False
        self._condition = condition
        self._waiters = condition._waiters
        self._watched: list[PeerId] = []
        self._failure: BaseException | None = None
        condition._check_held("wait()")
        self._entry = self._waiters.add()
        condition.release()

    def look(self) -> bool | None:
        watched = self._waiters.look(self._entry)
        if watched is None:
            return True
        self._watched = watched
        return None

    def watched(self) -> list[PeerId]:
        return self._watched

    def failed(self, failure: BaseException) -> None:
        """Remembers why the wait ends, until the lock is held again."""
        if self._condition.closed:
            raise failure
        self._failure = failure

    def returned(self, abandoned: bool | None) -> None:
        """With the lock held again: whether the wait is over. Raises what it has failed with."""
        condition = self._condition
        condition._entered(False)
        if abandoned:
            self._pass_on()
            raise self._abandoned()
        late = isinstance(self._failure, Timeout)
        if self._failure is not None and not late:
            self._pass_on()
            raise self._failure
        self.result = self._waiters.use(self._entry)
        self.over = self.result or late
        if not self.over:
            condition.release()
        elif late and not self.result:
            self._waiters.leave(self._entry)

    def _pass_on(self) -> None:
        """Leaves the line; if there was a notification for us it is for the next one now."""
        self._waiters.leave(self._entry)
        self._condition._notified = True

    def _abandoned(self) -> Error:
        return Abandoned(
            f"A process died while it held the condition '{self._condition.name}': release it, and acquire it with "
            "on_abandoned='repair'"
        )


def _check_predicate(predicate: object) -> None:
    if not callable(predicate):
        raise wrong_kind("a function", "the predicate", predicate)
