from __future__ import annotations

import asyncio
from typing import Any

from .._options import boolean_option
from .._stop import Identity, caller
from ..errors import NotOwned
from ._exclusive import Exclusive
from ._named_state import NamedState, StateSpec

# A task, or a thread that runs none.
_Caller = tuple[Identity, Any]


class Mutex(Exclusive):
    """A named lock that one caller at a time holds, among all processes that open the name.

    multiprocessing.Lock, or with `reentrant` its RLock, but it survives its holder. If a process is killed while it
    holds the Mutex, the next caller gets it within some 10 ms, and is told: ERR_NDSHM_ABANDONED, and the Mutex stays
    free and marked, until somebody acquires it with on_abandoned='repair', puts in order what it protects, and
    releases. Callers are threads, and tasks: one that asks by acquire_async() or `async with` holds it as a task. A
    forked child holds nothing.

    Closed while it is held, it counts as abandoned.

    Args:
        name: What all processes call it.
        reentrant: acquire() by the thread or task that holds it already goes on at once, and takes as many release().
            Default False: it is ERR_NDSHM_DEADLOCK.
        ephemeral: It belongs to its users: gone with the last one that closes it. Default False: until unlink().
        allow_foreign_owner: Open one that belongs to another user. Default False.

    Opens it, or makes it; does not block. Errors: ERR_NDSHM_MISMATCH if the name means something else, and those of
    open() and create(). Errors of all that acquire: ERR_NDSHM_ABANDONED, ERR_NDSHM_DEADLOCK, ERR_NDSHM_CLOSED.

    Example:
        >>> import ndshm
        >>> mutex = ndshm.Mutex("ledger", ephemeral=True)
        >>> with mutex:
        ...     mutex.locked()  # alone among all processes
        True
        >>> mutex.close()
    """

    def __init__(
        self, name: str, *, reentrant: bool = False, ephemeral: bool = False, allow_foreign_owner: bool = False
    ) -> None:
        self._reentrant = boolean_option(reentrant, "reentrant")
        spec = StateSpec("Mutex", lambda: (0, 0))
        super().__init__(NamedState(name, spec, ephemeral=ephemeral, allow_foreign_owner=allow_foreign_owner))
        # Of a reentrant one: who holds it, and how often it has been acquired since.
        self._holder: _Caller | None = None
        self._again = 0

    def _options(self) -> dict[str, object]:
        return {"reentrant": self._reentrant}

    def _enters_again(self) -> bool:
        if self._holder is None or not self._is_held_by_caller():
            return False
        self._again += 1
        return True

    def _entered(self, abandoned: bool) -> None:
        if self._reentrant:
            self._holder, self._again = _caller(), 0

    def _let_go(self, unrepaired: bool) -> None:
        if self._reentrant and not self.closed:
            if not self._is_held_by_caller():
                raise NotOwned(f"The Mutex '{self.name}' is not held by the caller")
            if self._again > 0:
                self._again -= 1
                return
            self._holder = None
        super()._let_go(unrepaired)

    def _is_held_by_caller(self) -> bool:
        # After a fork the child is the caller that its parent was, and has not the lock.
        return self._holder == _caller() and self._attachment.holding


def _caller() -> _Caller:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return caller(), task
