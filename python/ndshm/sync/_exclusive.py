from __future__ import annotations

from .._holds import WriteHold
from ..errors import Deadlock, Timeout
from ._named_state import NamedState
from ._primitive import Primitive


class Exclusive(Primitive[NamedState]):
    """What Mutex and Condition have in common: the lock of their segment, as threading.Lock has it."""

    def __init__(self, state: NamedState) -> None:
        super().__init__(state)
        self._attachment = state.attachment
        # It has no state but what is the lock's own: to make another each time would cost more than to enter.
        self._plain_hold = self.hold()

    def locked(self) -> bool:
        """Whether anybody holds it now, in whichever process. By the time of the answer that may have changed."""
        self._state.check()
        return self._attachment.owner is not None

    def acquire(self, blocking: bool = True, timeout: float | None = None, *, on_abandoned: str = "error") -> bool:
        """Holds the lock until release(); blocks for it for `timeout` seconds at most (default: for ever).

        Whether it is held. Threads of one process get it in the order of their calls. on_abandoned, and errors, as for
        hold(), but without ERR_NDSHM_TIMEOUT.
        """
        try:
            if blocking and timeout is None and on_abandoned == "error":
                self._plain_hold.__enter__()
            else:
                self.hold(on_abandoned=on_abandoned, timeout=timeout if blocking else 0).__enter__()
        except Timeout:
            return False
        except Deadlock:
            if blocking:
                raise
            return False
        return True

    async def acquire_async(self, timeout: float | None = None, *, on_abandoned: str = "error") -> bool:
        """acquire(), but without blocking the event loop. Cancelled, it holds nothing."""
        try:
            await self.hold(on_abandoned=on_abandoned, timeout=timeout).__aenter__()
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Lets it go. Errors: ERR_NDSHM_NOT_OWNED if it is not held."""
        self._let_go(unrepaired=False)

    def hold(self, *, on_abandoned: str = "error", timeout: float | None = None) -> ExclusiveHold:
        """For `with` and `async with`, whose target says in `abandoned` whether the last holder has died.

        on_abandoned: 'error' (default) raises ERR_NDSHM_ABANDONED if a holder has died, and leaves the mark; 'repair'
        goes on, and takes the mark away, unless the block raises. Errors besides: ERR_NDSHM_TIMEOUT after `timeout`
        seconds (default: never), ERR_NDSHM_DEADLOCK, ERR_NDSHM_CLOSED.

        Example:
            >>> import ndshm
            >>> mutex = ndshm.Mutex("ledger", ephemeral=True)
            >>> with mutex.hold(on_abandoned="repair") as hold:
            ...     hold.abandoned
            False
            >>> mutex.close()
        """
        return ExclusiveHold(self, WriteHold(self._attachment, on_abandoned, timeout))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not self.closed:
            self.release()

    async def __aenter__(self) -> bool:
        return await self.acquire_async()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.__exit__(kind)

    def _enters_again(self) -> bool:
        """Whether the caller holds it already, and may: then it holds it once more."""
        return False

    def _entered(self, abandoned: bool) -> None:
        """The caller holds it from now on."""

    def _let_go(self, unrepaired: bool) -> None:
        """`unrepaired`: what an earlier holder's death has left is as it was."""
        self._attachment.leave_write(unrepaired)


class ExclusiveHold:
    """Holding a Mutex or Condition for the length of a block; one block at a time."""

    __slots__ = ("_hold", "_lock")

    def __init__(self, lock: Exclusive, hold: WriteHold) -> None:
        self._lock = lock
        self._hold = hold

    @property
    def abandoned(self) -> bool:
        """Whether an earlier holder has died inside: what the lock protects may be half-done."""
        return self._hold.abandoned

    def __enter__(self) -> ExclusiveHold:
        if not self._lock._enters_again():
            self._hold.__enter__()
            self._lock._entered(self.abandoned)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._lock._let_go(unrepaired=False)
        elif not self._lock.closed:  # else what was held went with it
            self._lock._let_go(unrepaired=self.abandoned)

    async def __aenter__(self) -> ExclusiveHold:
        if not self._lock._enters_again():
            await self._hold.__aenter__()
            self._lock._entered(self.abandoned)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.__exit__(kind)
