from __future__ import annotations

from .. import _library


class Words:
    """Unsigned 32-bit words in a segment.

    A load is one aligned access, and comes after the entry into the lock, the arming of the wait or the check before
    it: each of these is a call into the library. A store is sequentially consistent, since others rely on the order.
    """

    def __init__(self, memory: memoryview, address: int) -> None:
        self.memory = memory.cast("I")
        self.address = address

    def __len__(self) -> int:
        return len(self.memory)

    def __getitem__(self, at: int) -> int:
        return self.memory[at]

    def store(self, at: int, value: int) -> None:
        _library.fast.ndshm_atomic_store(self.address + 4 * at, 4, value & 0xFFFFFFFF)

    def compare_exchange(self, at: int, expected: int, replacement: int) -> int:
        return _library.fast.ndshm_atomic_compare_exchange(
            self.address + 4 * at, 4, expected & 0xFFFFFFFF, replacement & 0xFFFFFFFF
        )

    def set_bits(self, at: int, bits: int) -> None:
        _library.fast.ndshm_atomic_or(self.address + 4 * at, 4, bits)

    def clear_bits(self, at: int, bits: int) -> None:
        _library.fast.ndshm_atomic_and(self.address + 4 * at, 4, ~bits & 0xFFFFFFFF)

    def add(self, at: int, value: int) -> None:
        _library.fast.ndshm_atomic_add(self.address + 4 * at, 4, value & 0xFFFFFFFF)
