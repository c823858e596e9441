from __future__ import annotations

from .._holds import ReadHold, WriteHold
from ._named_state import NamedState, StateSpec
from ._primitive import Primitive


class RWLock(Primitive[NamedState]):
    """A named reader-writer lock among processes, for what is not an array.

    Arrays have one of their own: array.read() and array.write(), which behave alike. Many readers or one writer; a
    stream of readers keeps no writer out for ever, nor the reverse; survives the death of whoever holds it.

    Args:
        name: What all processes call it.
        ephemeral: It belongs to its users: gone with the last one that closes it. Default False: until unlink().
        allow_foreign_owner: Open one that belongs to another user. Default False.

    Opens it, or makes it; does not block. Errors as for Mutex.

    Example:
        >>> import ndshm
        >>> lock = ndshm.RWLock("catalogue", ephemeral=True)
        >>> with lock.reader():
        ...     pass  # among readers
        >>> with lock.writer(timeout=1):
        ...     pass  # alone
        >>> lock.close()
    """

    def __init__(self, name: str, *, ephemeral: bool = False, allow_foreign_owner: bool = False) -> None:
        spec = StateSpec("RWLock", lambda: (0, 0))
        super().__init__(NamedState(name, spec, ephemeral=ephemeral, allow_foreign_owner=allow_foreign_owner))

    def reader(self, *, on_abandoned: str = "error", timeout: float | None = None) -> ReadHold:
        """For `with` and `async with`: among readers; the entry blocks for `timeout` seconds at most.

        on_abandoned: 'error' (default) raises ERR_NDSHM_ABANDONED if a writer has died inside; 'ignore' goes on, and
        the target's `abandoned` says so. Errors besides: ERR_NDSHM_TIMEOUT, ERR_NDSHM_DEADLOCK, ERR_NDSHM_CLOSED.
        """
        return ReadHold(self._state.attachment, on_abandoned, timeout)

    def writer(self, *, on_abandoned: str = "error", timeout: float | None = None) -> WriteHold:
        """For `with` and `async with`: alone; the entry blocks for `timeout` seconds at most.

        on_abandoned: as for Mutex.hold(). Errors as for reader().
        """
        return WriteHold(self._state.attachment, on_abandoned, timeout)
