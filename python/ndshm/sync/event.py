from __future__ import annotations

from typing import Callable

from ..errors import Timeout
from ._deadline import Deadline
from ._named_state import NamedState, StateSpec
from ._primitive import Primitive

_FLAG = 0  # grows by one at every change; odd = set


class Event(Primitive[NamedState]):
    """A flag that processes wait for, by name: threading.Event.

    Nothing is held, so that nothing is lost with a process that dies. No lock is taken.

    Args:
        name: What all processes call it.
        ephemeral: It belongs to its users: gone with the last one that closes it. Default False: until unlink().
        allow_foreign_owner: Open one that belongs to another user. Default False.

    Opens it, or makes it, not set; does not block. Errors: ERR_NDSHM_MISMATCH if the name means something else, and
    those of open(). Errors of all methods: ERR_NDSHM_CLOSED.

    Example:
        >>> import ndshm, threading
        >>> ready = ndshm.Event("ready", ephemeral=True)
        >>> setter = threading.Thread(target=ready.set)  # mostly another process does that
        >>> setter.start()
        >>> ready.wait(timeout=1)
        True
        >>> setter.join()
        >>> ready.close()
    """

    def __init__(self, name: str, *, ephemeral: bool = False, allow_foreign_owner: bool = False) -> None:
        spec = StateSpec("Event", lambda: (1, 0))
        super().__init__(NamedState(name, spec, ephemeral=ephemeral, allow_foreign_owner=allow_foreign_owner))

    def _load(self) -> int:
        self._state.check()
        return self._state.words[_FLAG]

    def is_set(self) -> bool:
        """Whether it is set now."""
        return self._load() & 1 == 1

    def set(self) -> None:
        """Sets it. Everybody who waits at this moment goes on, even if it is cleared at once."""
        before = self._load()
        # Should it fail, somebody else has changed it meanwhile: set by them, or set and cleared, which came after
        # ours.
        if before & 1 == 0:
            self._state.words.compare_exchange(_FLAG, before, before + 1)
        self._state.attachment.notify()

    def clear(self) -> None:
        """Clears it: from now on wait() waits."""
        before = self._load()
        if before & 1 == 1:
            self._state.words.compare_exchange(_FLAG, before, before + 1)

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until it is set, for `timeout` seconds at most (default: for ever). False = the time was up."""
        deadline = Deadline(timeout, self.name)
        try:
            return self._state.until(self._set_since(self._load()), deadline)
        except Timeout:
            return False

    async def wait_async(self, timeout: float | None = None) -> bool:
        """wait(), but without blocking the event loop."""
        deadline = Deadline(timeout, self.name)
        try:
            return await self._state.until_async(self._set_since(self._load()), deadline)
        except Timeout:
            return False

    def _set_since(self, start: int) -> Callable[[], bool | None]:
        def look() -> bool | None:
            now = self._load()
            return now & 1 == 1 or now != start or None

        return look
