"""A store's rows: what each stands for, and which are free (docs/format.md, 'Chunks and rows')."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable

import numpy as np

from .. import _library
from .._attachment import PeerId
from ..errors import Error, error


class State:
    """What a row stands for. A store to its one word of generation and state is what publishes, deletes and spills."""

    FREE = 0
    MAKING = 1
    """Its owner fills it. Nobody else looks."""
    LIVE = 2
    LIMBO = 3
    """Deleted, but somebody still reads it: its pages wait for that."""
    SPILLING = 4
    """As LIVE, while its owner copies it to disk."""
    SPILLED = 5
    """On disk alone."""
    RETIRED = 6
    """Its generations are used up."""


class Field:
    """The words of a row."""

    STATE = 0
    NEXT = 1
    LENGTH_LOW = 2
    LENGTH_HIGH = 3
    START = 4
    PAGES = 5
    OWNER_SLOT = 6
    OWNER_GENERATION = 7
    LAST_USE = 8
    PID = 9
    CREATED_AT = 10
    PARTIAL = 11
    """1 = some of its pages may be missing."""


ROW_WORDS = 16
ROW_BYTES = 4 * ROW_WORDS
_STATE_BITS = 4
_STATE_MASK = 2**_STATE_BITS - 1
# Of rows that a caller knows by a handle of one safe integer: 24 bits, beside the 29 of a row's number.
MAX_GENERATION = 2**24 - 1

# Rows of chunk c have the numbers from c * 2**17 on.
_CHUNK_BITS = 17
MAX_ROWS_IN_CHUNK = 2**_CHUNK_BITS
_MAX_CHUNKS = 4096
_MAX_CLASSES = 32

# Class 0 has rows alone; class n has a slot of so many bytes beside each.
# fmt: off
SLOT_SIZES = (
    0, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152,
    65536,
)
# fmt: on
MAX_SLOT_BYTES = SLOT_SIZES[-1]

# A chunk in the directory: which class of rows, where in the reservoir, how many rows, how many of them were ever used.
_CHUNK_WORDS = 4
_TOUCHED = 3
# The number of chunks; for each class the first free row + 1, and the newest chunk + 1, the only one that may have rows
# that were never used; the directory.
_CHUNKS = 0
_HEADS = 1
_NEWEST = 1 + _MAX_CLASSES
_DIRECTORY = 1 + 2 * _MAX_CLASSES


def state_of(word: int) -> int:
    return word & _STATE_MASK


def generation_of(word: int) -> int:
    return word >> _STATE_BITS


def word_of(generation: int, state: int) -> int:
    return generation << _STATE_BITS | state


def is_sealed(word: int, generation: int) -> bool:
    """Whether an object of this generation is there to be read."""
    return generation_of(word) == generation and state_of(word) in (State.LIVE, State.SPILLING, State.SPILLED)


@dataclass(frozen=True)
class ChunkPlace:
    kind: int
    """Its class."""
    start: int
    count: int


@dataclass(frozen=True)
class MappedChunk:
    """A chunk as this process has it mapped."""

    kind: int
    count: int
    address: int
    words: memoryview
    """Of its rows, unsigned."""
    slots: memoryview
    """The bytes of a class that has any."""


class Row:
    """A row, where its words lie: row[Field.START]."""

    __slots__ = ("id", "chunk", "index", "_at")

    def __init__(self, number: int, chunk: MappedChunk, index: int) -> None:
        self.id = number
        self.chunk = chunk
        self.index = index
        self._at = index * ROW_WORDS

    def __getitem__(self, field: int) -> int:
        return self.chunk.words[self._at + field]

    def __setitem__(self, field: int, value: int) -> None:
        self.chunk.words[self._at + field] = value & 0xFFFFFFFF

    @property
    def word(self) -> int:
        """Generation and state."""
        return _library.fast.ndshm_atomic_load(self.chunk.address + 4 * self._at, 4)

    @property
    def state(self) -> int:
        return state_of(self.word)

    @property
    def generation(self) -> int:
        return generation_of(self.word)

    def set_state(self, generation: int, state: int) -> None:
        _library.fast.ndshm_atomic_store(self.chunk.address + 4 * self._at, 4, word_of(generation, state))

    @property
    def byte_length(self) -> int:
        return self[Field.LENGTH_LOW] + (self[Field.LENGTH_HIGH] << 32)

    @byte_length.setter
    def byte_length(self, value: int) -> None:
        self[Field.LENGTH_LOW] = value
        self[Field.LENGTH_HIGH] = value >> 32

    @property
    def owner(self) -> PeerId:
        return PeerId(self[Field.OWNER_SLOT], self[Field.OWNER_GENERATION])

    @owner.setter
    def owner(self, peer: PeerId) -> None:
        self[Field.OWNER_SLOT], self[Field.OWNER_GENERATION] = peer


class Rows:
    """A table of rows that grows by chunks, with a list of free rows for each class.

    States are the truth, and are read without a lock; lists change under the lock, and are built anew from the states
    after somebody died under it.
    """

    WORDS = _DIRECTORY + _MAX_CHUNKS * _CHUNK_WORDS

    def __init__(self, words: memoryview, address: int, map_chunk: Callable[[ChunkPlace], MappedChunk]) -> None:
        """`map_chunk` maps a chunk, or raises where that would not lie within the reservoir."""
        self._words = words
        self._address = address
        self._map = map_chunk
        self._chunks: dict[int, MappedChunk] = {}

    @property
    def chunk_count(self) -> int:
        count = _library.fast.ndshm_atomic_load(self._address + 4 * _CHUNKS, 4)
        if count > _MAX_CHUNKS:
            raise _corrupt()
        return count

    def place_of(self, number: int) -> ChunkPlace:
        at = _DIRECTORY + number * _CHUNK_WORDS
        kind, start, count = self._words[at : at + _TOUCHED].tolist()
        if kind >= len(SLOT_SIZES) or not 1 <= count <= MAX_ROWS_IN_CHUNK:
            raise _corrupt()
        return ChunkPlace(kind, start, count)

    def _chunk(self, number: int) -> MappedChunk:
        known = self._chunks.get(number)
        if known is None:
            # Two threads may both come here, and then map it twice.
            known = self._chunks.setdefault(number, self._map(self.place_of(number)))
        return known

    def row(self, number: int) -> Row | None:
        """None if there is no such row."""
        chunk_number, index = number >> _CHUNK_BITS, number & (MAX_ROWS_IN_CHUNK - 1)
        if chunk_number not in self._chunks and chunk_number >= self.chunk_count:
            return None
        chunk = self._chunk(chunk_number)
        return Row(number, chunk, index) if index < chunk.count else None

    def select(self, *states: int) -> Iterator[Row]:
        """The rows that are in one of these states as they are come upon; who needs to know has to look again."""
        for number in range(self.chunk_count):
            chunk = self._chunk(number)
            touched = min(self._touched(number), chunk.count)
            found = np.frombuffer(chunk.words, np.uint32).reshape(-1, ROW_WORDS)[:touched, Field.STATE] & _STATE_MASK
            for index in np.flatnonzero(np.isin(found, states)).tolist():
                yield Row(number * MAX_ROWS_IN_CHUNK + index, chunk, index)

    def _touched(self, number: int) -> int:
        return self._words[_DIRECTORY + number * _CHUNK_WORDS + _TOUCHED]

    def rows_of(self, kind: int) -> int:
        """How many rows of a class there are."""
        places = map(self.place_of, range(self.chunk_count))
        return sum(place.count for place in places if place.kind == kind)

    # ---- under the lock ----

    def take(self, kind: int, owner: PeerId) -> Row | None:
        """A free row, made its owner's; None if the class needs another chunk."""
        head = self._words[_HEADS + kind]
        row = self._untouched(kind) if head == 0 else self.row(head - 1)
        if row is None and head == 0:
            return None
        if row is None or row.chunk.kind != kind or row.state != State.FREE:
            raise _corrupt()
        row.owner = owner
        row[Field.PID] = os.getpid()
        row[Field.PAGES] = 0
        row[Field.PARTIAL] = 0
        row[Field.CREATED_AT] = int(time.time())
        row.byte_length = 0
        row.set_state(row.generation, State.MAKING)
        if head != 0:
            self._words[_HEADS + kind] = row[Field.NEXT]
        return row

    def _untouched(self, kind: int) -> Row | None:
        """One that was never used; None if the class has no more of them."""
        number = self._words[_NEWEST + kind] - 1
        if number < 0:
            return None
        if number >= self.chunk_count:
            raise _corrupt()
        chunk = self._chunk(number)
        index = self._touched(number)
        if index >= chunk.count:
            return None
        self._words[_DIRECTORY + number * _CHUNK_WORDS + _TOUCHED] = index + 1
        return Row(number * MAX_ROWS_IN_CHUNK + index, chunk, index)

    def free(self, row: Row) -> None:
        """Ends a row's generation: nobody finds it any more, and somebody else may have it. Its pages are not freed."""
        generation = row.generation + 1
        if generation > MAX_GENERATION:
            row.set_state(MAX_GENERATION, State.RETIRED)
            return
        row.set_state(generation, State.FREE)
        self._link(row)

    def _link(self, row: Row) -> None:
        row[Field.NEXT] = self._words[_HEADS + row.chunk.kind]
        self._words[_HEADS + row.chunk.kind] = row.id + 1

    def add(self, place: ChunkPlace) -> bool:
        """Notes a new chunk, whose rows are all zeros; False if the directory is full."""
        number = self.chunk_count
        if number == _MAX_CHUNKS:
            return False
        at = _DIRECTORY + number * _CHUNK_WORDS
        for offset, value in enumerate((place.kind, place.start, place.count, 0)):
            self._words[at + offset] = value
        # What it takes to be one. Whoever dies before this has not made it, and its pages are free after the rebuild.
        _library.fast.ndshm_atomic_store(self._address + 4 * _CHUNKS, 4, number + 1)
        self._words[_NEWEST + place.kind] = number + 1
        return True

    def relink(self) -> None:
        """The lists, from the states."""
        for at in range(_HEADS, _DIRECTORY):
            self._words[at] = 0
        for number in range(self.chunk_count):
            self._words[_NEWEST + self.place_of(number).kind] = number + 1
        for row in self.select(State.FREE):
            self._link(row)


def _corrupt() -> Error:
    return error("ERR_NDSHM_CONTROL_CORRUPT", "The rows of the store have been overwritten; make it anew")
