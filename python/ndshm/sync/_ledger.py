from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _layout
from .._lock import PeerId

if TYPE_CHECKING:
    from ._named_state import NamedState

# The words of a ledger: a bit for each slot whose entry may count, so that nobody scans all of them; the entries.
_MAP_WORDS = _layout.PEER_SLOTS // 32
_ENTRY_WORDS = 3
_GENERATION, _EPOCH, _COUNT = range(_ENTRY_WORDS)


class Ledger:
    """How many of something each peer has: one entry per slot of the peer table.

    An entry counts for as long as its peer lives; what the dead had is nobody's. The threads of a process are one peer,
    with one entry. A primitive that ends all entries at once does so by counting in another epoch.

    Changed only under the state's lock, and each change is one store to the count: whoever dies before it has changed
    nothing. Reading is safe at any time.
    """

    WORDS = _MAP_WORDS + _ENTRY_WORDS * _layout.PEER_SLOTS

    def __init__(self, state: NamedState, base: int) -> None:
        self._state = state
        self._words = state.words
        self._base = base
        self._map = state.words.memory[base : base + _MAP_WORDS]

    def _at(self, slot: int, field: int) -> int:
        return self._base + _MAP_WORDS + slot * _ENTRY_WORDS + field

    def _load(self, slot: int, field: int) -> int:
        return self._words[self._at(slot, field)]

    def _store(self, slot: int, field: int, value: int) -> None:
        self._words.store(self._at(slot, field), value)

    def _set_count(self, slot: int, count: int) -> None:
        """Stores a count; the bit is up before it counts, and down only after."""
        at = self._base + slot // 32
        bit = 1 << slot % 32
        if count != 0:
            self._words.set_bits(at, bit)
        self._store(slot, _COUNT, count)
        if count == 0:
            self._words.clear_bits(at, bit)

    def _slots(self, epoch: int) -> list[int]:
        """The slots whose entries count in this epoch."""
        slots = []
        bits = int.from_bytes(self._map, "little")
        while bits != 0:
            slot = (bits & -bits).bit_length() - 1
            bits &= bits - 1
            if self._load(slot, _EPOCH) == epoch and self._load(slot, _COUNT) != 0:
                slots.append(slot)
        return slots

    def _peer_of(self, slot: int) -> PeerId:
        return PeerId(slot, self._load(slot, _GENERATION))

    def _is_mine(self, epoch: int) -> bool:
        slot, generation = self._state.me
        return self._load(slot, _GENERATION) == generation and self._load(slot, _EPOCH) == epoch

    def mine(self, epoch: int = 0) -> int:
        """What this attachment has."""
        return self._load(self._state.me[0], _COUNT) if self._is_mine(epoch) else 0

    def set_mine(self, count: int, epoch: int = 0) -> None:
        slot, generation = self._state.me
        if not self._is_mine(epoch):
            # First nothing, then mine: at no moment is what the slot's last holder had taken for ours.
            self._set_count(slot, 0)
            self._store(slot, _GENERATION, generation)
            self._store(slot, _EPOCH, epoch)
        self._set_count(slot, count)

    def sum(self, epoch: int = 0) -> int:
        """All that is entered, whether by the living or by the dead."""
        return sum(self._load(slot, _COUNT) for slot in self._slots(epoch))

    def others(self, epoch: int = 0) -> list[PeerId]:
        """Everybody else who has something."""
        me = self._state.me
        return [peer for peer in map(self._peer_of, self._slots(epoch)) if peer != me]

    def living(self, epoch: int = 0) -> int:
        """What the living have. Asks the kernel about each."""
        return self.sum(epoch) - sum(self._load(slot, _COUNT) for slot, _ in self._dead(epoch))

    def bury(self, epoch: int = 0) -> bool:
        """Drops the entries of the dead; whether there were any."""
        dead = self._dead(epoch)
        for slot, _ in dead:
            self._set_count(slot, 0)
        return len(dead) > 0

    def _dead(self, epoch: int) -> list[PeerId]:
        return [peer for peer in self.others(epoch) if self._state.is_dead(peer)]
