from __future__ import annotations

from types import TracebackType

from .._options import boolean_option, integer_in
from ..errors import Error, Timeout, error
from ._ledger import Ledger
from ._monitor import Blocked, Monitor
from ._named_state import Parameter, StateSpec
from ._primitive import Primitive
from ._task_line import TaskLine
from ._words import Words

_TOTAL = 0  # permits, free and held; the ledger of who holds how many begins behind it
_MOST = 2**31 - 1


class Semaphore(Primitive[Monitor]):
    """A number of permits by name: Semaphore and BoundedSemaphore of threading and multiprocessing.

    A permit belongs to the process (exactly: to this attachment) that acquired it, whichever of its threads releases
    it, and comes back by itself if that process dies. A forked child holds none. Tasks of one event loop get permits in
    the order of their calls; among threads and processes there is no order, as in Python.

    Args:
        name: What all processes call it.
        value: Permits at first, default 1. If the semaphore exists: has to be what it was made with, where given.
        bounded: Refuse to release what is not held, as BoundedSemaphore does. Default False. Likewise.
        undo: What a process holds comes back when it closes the semaphore or ends, in whatever way (SEM_UNDO of
            semop(2)). Default True. With False nobody holds anything, as in Python and POSIX: acquire() takes one
            permit away and release() adds one. That is for counting what some make and others use up. Likewise.
        ephemeral: It belongs to its users: gone with the last one that closes it. Default False: until unlink().
        allow_foreign_owner: Open one that belongs to another user. Default False.

    Opens it, or makes it; does not block. Errors: ERR_NDSHM_MISMATCH if it was made with other options or the name
    means something else, ERR_NDSHM_OUT_OF_RANGE for a value below 0 or above 2**31 - 1, and those of open(). Errors of
    all methods: ERR_NDSHM_CLOSED.

    Example:
        >>> import ndshm
        >>> licences = ndshm.Semaphore("licences", value=3, ephemeral=True)
        >>> with licences:
        ...     licences.value
        2
        >>> licences.close()
    """

    def __init__(
        self,
        name: str,
        value: int | None = None,
        *,
        bounded: bool | None = None,
        undo: bool | None = None,
        ephemeral: bool = False,
        allow_foreign_owner: bool = False,
    ) -> None:
        parameters = (
            Parameter("value", None if value is None else integer_in(value, 0, _MOST, "value"), 1),
            Parameter("bounded", _flag(bounded, "bounded"), 0, _flag_text),
            Parameter("undo", _flag(undo, "undo"), 1, _flag_text),
        )
        spec = StateSpec("Semaphore", lambda *_: (1 + Ledger.WORDS, 0), parameters, _init)
        super().__init__(Monitor(name, spec, ephemeral=ephemeral, allow_foreign_owner=allow_foreign_owner))
        initial, is_bounded, undoes = self._state.parameters
        self._initial = initial
        self._bounded = is_bounded == 1
        self._undo = undoes == 1
        self._words = self._state.words
        self._held = Ledger(self._state, 1)
        self._line = TaskLine()

    @property
    def value(self) -> int:
        """Permits that are free now, as sem_getvalue(3); others may have changed it by the time it is looked at."""
        self._state.check()
        return max(self._words[_TOTAL] - self._held.living(), 0)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Takes a permit; blocks for one for `timeout` seconds at most (default: for ever). Whether it has one."""
        if not blocking:
            return self._state.attempt(self._take) is True
        try:
            return self._state.transact(self._take, timeout)
        except Timeout:
            return False

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """acquire(), but without blocking the event loop. Cancelled, it has taken nothing."""
        try:
            return await self._state.transact_in_line(self._line, self._take, timeout)
        except Timeout:
            return False

    def release(self, n: int = 1) -> None:
        """Gives back `n` permits. Does not block.

        What is more than this process holds adds to the semaphore's permits, as in Python; if it is bounded that is
        ERR_NDSHM_OUT_OF_RANGE, and nothing is released.
        """
        integer_in(n, 1, _MOST, "the number of permits to release")

        def give_back() -> bool:
            mine = self._held.mine()
            back = min(n, mine)
            total = self._words[_TOTAL] + n - back
            if total > (self._initial if self._bounded else _MOST):
                raise self._too_many(n, mine)
            # In this order: who dies in between holds them still, and they come back as what the dead held.
            if n > back:
                self._words.store(_TOTAL, total)
            if back > 0:
                self._held.set_mine(mine - back)
            return True

        self._state.attempt(give_back)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.closed:
            self.release()

    async def __aenter__(self) -> bool:
        return await self.acquire_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, raised, trace)

    def _take(self) -> bool | Blocked:
        # Each way to take a permit is one store: to the count of what this attachment holds, or to the total.
        total = self._words[_TOTAL]
        if total <= self._held.sum() and not (self._held.bury() and total > self._held.sum()):
            return Blocked(self._held.others())
        if self._undo:
            self._held.set_mine(self._held.mine() + 1)
        else:
            self._words.store(_TOTAL, total - 1)
        return True

    def _too_many(self, n: int, mine: int) -> Error:
        why = f"a semaphore has at most {_MOST} permits"
        if self._bounded:
            why = f"this process holds {mine}, and it is bounded"
        return error("ERR_NDSHM_OUT_OF_RANGE", f"Cannot release {n} of the semaphore '{self.name}': {why}")


def _init(words: Words, initial: int, *_: int) -> None:
    words.store(_TOTAL, initial)


def _flag(value: bool | None, what: str) -> int | None:
    return None if value is None else int(boolean_option(value, what))


def _flag_text(value: int) -> str:
    return str(value == 1)
