from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .._lock import PeerId
from ..errors import error

if TYPE_CHECKING:
    from ._named_state import NamedState

# Words of the table: notifications given so far, entries ever used, then the entries. USES of an entry is twice the
# number of notifications that were used there, plus one while somebody waits.
_NOTIFIED, _EXTENT, _ENTRIES = range(3)
_ENTRY_WORDS = 4
_SLOT, _GENERATION, _TICKET, _USES = range(_ENTRY_WORDS)
_MOST = 1024
_MASK = 2**31 - 1  # both counts wrap around there


class _Waiter(NamedTuple):
    ticket: int
    entry: int
    peer: PeerId


class Waiters:
    """Who waits for notifications, oldest first, and how many of them are notified.

    These are the oldest so many as notifications have been given and not used. So a notification goes over to the next
    one by itself when a waiter dies, and each step is one store: waiting (uses + 1), giving up (uses - 1), using a
    notification (uses + 1), notifying (notified + n). Each thread that waits has an entry of its own.

    Changed only under the condition's lock. Looking is safe at any time, though only under the lock it is exact.
    """

    WORDS = _ENTRIES + _ENTRY_WORDS * _MOST

    def __init__(self, state: NamedState) -> None:
        self._state = state
        self._words = state.words

    def _load(self, entry: int, field: int) -> int:
        return self._words[_ENTRIES + entry * _ENTRY_WORDS + field]

    def _store(self, entry: int, field: int, value: int) -> None:
        self._words.store(_ENTRIES + entry * _ENTRY_WORDS + field, value)

    def _extent(self) -> int:
        return min(self._words[_EXTENT], _MOST)  # the words may hold anything

    def _notified(self) -> int:
        """Notifications that have not been used."""
        used = sum(self._load(entry, _USES) >> 1 for entry in range(self._extent()))
        return (self._words[_NOTIFIED] - used) & _MASK

    def _waiting(self) -> list[_Waiter]:
        """Everybody who waits, oldest first, be they alive or dead."""
        waiting = []
        for entry in range(self._extent()):
            if self._load(entry, _USES) & 1 == 1:
                peer = PeerId(self._load(entry, _SLOT), self._load(entry, _GENERATION))
                waiting.append(_Waiter(self._load(entry, _TICKET), entry, peer))
        return sorted(waiting)

    def _living(self, waiting: Sequence[_Waiter]) -> list[_Waiter]:
        """Those of them who live. Asks the kernel once about each process."""
        dead = {peer: self._state.is_dead(peer) for peer in {waiter.peer for waiter in waiting}}
        return [waiter for waiter in waiting if not dead[waiter.peer]]

    def _tidy(self) -> tuple[int, list[_Waiter]]:
        """Removes the dead; how many are notified, and who lives and waits, oldest first.

        A notification that nobody is left for is none: it must not wake who waits later.
        """
        everybody = self._waiting()
        waiting = self._living(everybody)
        if len(waiting) < len(everybody):
            for waiter in everybody:
                if waiter not in waiting:
                    self.leave(waiter.entry)
        notified = self._notified()
        excess = max(notified - len(waiting), 0)
        if excess > 0:
            self._words.add(_NOTIFIED, -excess)
        return notified - excess, waiting

    def add(self) -> int:
        """Enters a new waiter, behind all others."""
        _, waiting = self._tidy()
        taken = {waiter.entry for waiter in waiting}
        entry = next((entry for entry in range(_MOST) if entry not in taken), None)
        if entry is None:
            raise error("ERR_NDSHM_FULL", f"{_MOST} wait for the condition '{self._state.name}' already")
        slot, generation = self._state.me
        self._store(entry, _SLOT, slot)
        self._store(entry, _GENERATION, generation)
        self._store(entry, _TICKET, waiting[-1].ticket + 1 if waiting else 0)
        if entry >= self._extent():
            self._words.store(_EXTENT, entry + 1)
        self._store(entry, _USES, self._load(entry, _USES) + 1)
        return entry

    def notify(self, n: int) -> bool:
        """Notifies the `n` oldest that are not notified yet, or as many as there are; whether there were any."""
        notified, waiting = self._tidy()
        more = min(n, len(waiting) - notified)
        if more > 0:
            self._words.add(_NOTIFIED, more)
        return more > 0

    def look(self, entry: int) -> list[PeerId] | None:
        """Without the lock: None = this waiter is notified; else those whose death might make it so."""
        notified = self._notified()
        if notified == 0:
            return []
        waiting = self._waiting()
        place = next((n for n, waiter in enumerate(waiting) if waiter.entry == entry), 0)
        if place < notified:
            return None
        living = self._living(waiting[:place])
        return None if len(living) < notified else list(dict.fromkeys(waiter.peer for waiter in living))

    def use(self, entry: int) -> bool:
        """Uses the waiter's notification, with which it is no waiter any more; False if it has none."""
        notified, waiting = self._tidy()
        place = next((n for n, waiter in enumerate(waiting) if waiter.entry == entry), None)
        if place is None:
            raise error("ERR_NDSHM_CONTROL_CORRUPT", f"A waiter of the condition '{self._state.name}' was overwritten")
        if place >= notified:
            return False
        self._store(entry, _USES, self._load(entry, _USES) + 1)
        return True

    def leave(self, entry: int) -> None:
        """Ends the wait of a waiter that has no notification."""
        self._store(entry, _USES, self._load(entry, _USES) - 1)
