"""Rows, and pages for what they stand for, in a named segment and its reservoir."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, NamedTuple

from .. import _library
from .._at_exit import close_at_exit
from .._layout import DIRECTORY
from .._options import check_name
from ..directory import reap, reap_members
from ..errors import Error, bytes_in_words, error
from ..sync._ledger import Ledger
from ..sync._named_state import NamedState, Parameter, StateSpec
from ..sync._words import Words
from ._extents import Extent, Extents
from ._reservoir import PAGE_BYTES, Reservoir, pages_for
from ._rows import MAX_ROWS_IN_CHUNK, ROW_BYTES, SLOT_SIZES, ChunkPlace, Field, MappedChunk, Row, Rows, State

_PAGES_LABEL = "pages.0"

# A chunk is as large as all before it of its class, within these bounds.
_MIN_CHUNK_BYTES = 2**16
_MAX_CHUNK_BYTES = 2**23
_MIN_SLOTS = 4
_MIN_PLAIN_ROWS = 1024
_MAX_PLAIN_ROWS = 16384

_TICK = 0
_LIMBO = 1
_ENDED = 2
_LEDGER = 4
_ROWS = _LEDGER + Ledger.WORDS
_EXTENTS = _ROWS + Rows.WORDS
_WORDS = _EXTENTS + Extents.WORDS

# Nobody holds the lock for longer than some microseconds; only who was stopped there keeps it for so long.
_LOCK_SECONDS = 1.0


class Claim(NamedTuple):
    """A row of this process's making, its generation, and its pages."""

    row: Row
    generation: int
    extent: Extent | None


class Heap:
    """What object store and array table have in common.

    Whatever process is killed at whatever step, the rows' states stay true, and the rest is built anew.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        *,
        capacity_pages: int | None = None,
        otherwise_pages: int,
        discard: Callable[[Row], None] | None = None,
        ephemeral: bool,
        allow_foreign_owner: bool,
    ) -> None:
        """`capacity_pages`: how many may exist at a time; None = what it was made with, else `otherwise_pages`.

        `discard` takes away what a row stands for beside its pages. Under the lock; perhaps not for the first time.
        """
        self.name = check_name(name)
        check_name(f"{name}.{_PAGES_LABEL}")
        self._discard = discard
        self._ephemeral = ephemeral
        self._closed = False
        # One whose last process was killed has ended, though nobody has noticed yet.
        if reap(name):
            reap_members(name)
        self.state = NamedState(
            name,
            StateSpec(
                kind,
                parameters=[Parameter("capacity", capacity_pages, otherwise_pages, _in_words)],
                size=lambda _: (_WORDS, 0),
                init=_init,
                is_alive=lambda words: len(words) != _WORDS or words[_ENDED] == 0,
            ),
            ephemeral=ephemeral,
            allow_foreign_owner=allow_foreign_owner,
        )
        try:
            self._words = self.state.words.memory
            self._address = self.state.words.address
            (capacity,) = self.state.parameters
            attachment = self.state.attachment
            assert attachment.id is not None
            self.id: str = attachment.id
            self.pages = Reservoir.open_or_create(
                attachment, _PAGES_LABEL, _total_pages(capacity) * PAGE_BYTES, allow_foreign_owner
            )
            self.extents = _extents_of(self._words, capacity)
            self.rows = Rows(self._words[_ROWS:_EXTENTS], self._address + 4 * _ROWS, self._map)
            self._writers = Ledger(self.state, _LEDGER)
        except BaseException:
            self.state.close()
            raise
        self._forget_exit = close_at_exit(self)

    @property
    def closed(self) -> bool:
        return self._closed or self.state.closed

    def check(self) -> None:
        """Raises if it was closed, or its name was taken away for good, or its file was damaged."""
        if self._closed:
            raise error("ERR_NDSHM_CLOSED", f"'{self.name}' has been closed; open it again")
        self.state.check()
        if self.pages.faulted:
            raise error("ERR_NDSHM_TRUNCATED", f"'{self.name}' lost pages: another process truncated its file")
        if self._load(_ENDED) != 0:
            raise error("ERR_NDSHM_CLOSED", f"'{self.name}' has been unlinked, which ends it for everybody")

    def _load(self, word: int) -> int:
        return _library.fast.ndshm_atomic_load(self._address + 4 * word, 4)

    @property
    def now(self) -> int:
        """The last tick."""
        return self._load(_TICK)

    def tick(self) -> int:
        """A number that grows with every use."""
        return _library.fast.ndshm_atomic_add(self._address + 4 * _TICK, 4, 1)

    def _map(self, place: ChunkPlace) -> MappedChunk:
        slot_bytes = SLOT_SIZES[place.kind]
        row_pages = pages_for(place.count * ROW_BYTES)
        pages = row_pages + pages_for(place.count * slot_bytes)
        self.check_extent(place.start, pages)
        mapped = self.pages.map(place.start * PAGE_BYTES, pages * PAGE_BYTES, writable=True)
        everything = mapped.memory
        slots_at = row_pages * PAGE_BYTES
        return MappedChunk(
            kind=place.kind,
            count=place.count,
            address=mapped.address,
            words=everything[: place.count * ROW_BYTES].cast("I"),
            slots=everything[slots_at : slots_at + place.count * slot_bytes],
        )

    def check_extent(self, start: int, pages: int) -> None:
        """The words may hold anything: raises unless these pages lie within the reservoir."""
        if pages < 1 or start + pages > self.extents.total_pages:
            raise self._corrupt()

    def _corrupt(self) -> Error:
        return error("ERR_NDSHM_CONTROL_CORRUPT", f"'{self.name}' has been overwritten; make it anew")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Under the store's lock: what somebody who died there has left half done is built anew first.

        What changes in here is nothing that anybody waits for.
        """
        attachment = self.state.attachment
        abandoned, repaired = None, False
        try:
            abandoned = attachment.enter_write(_LOCK_SECONDS)
            if abandoned is None:
                raise attachment.timeout_error("Waiting for", _LOCK_SECONDS)
            if abandoned:
                self._rebuild()
            repaired = abandoned
            yield
        except (Error, OSError):
            raise
        except BaseException:
            # KeyboardInterrupt, or what a signal handler raised, in the middle of a step: as if we had died there.
            if abandoned is not None:
                self._rebuild()
            raise
        finally:
            if abandoned is not None:
                attachment.leave_write(unchanged=not repaired)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """For stores into what is this process's own: no other thread closes the heap, and gives it away, meanwhile."""
        with self.pages.lock:
            self.check()
            yield

    # ---- making: each call under the lock by itself ----

    def take(self, kind: int, pages: int) -> Claim | None:
        """A row of a class in state MAKING, ours, with as many pages; None if the capacity does not allow it now.

        Errors: ENOSPC where the rows themselves do not fit into memory.
        """
        self.check()
        with self.locked():
            me = self.state.me
            is_first = self._writers.mine() == 0
            # The dead may have left more than rows; and who had our slot before us is forgotten once we have an entry.
            if is_first or self._discard is not None:
                self._recover()
            # Says that there may be rows of our making to look for when we have died.
            if is_first:
                self._writers.set_mine(1)
            row = self.rows.take(kind, me)
            if row is None:
                self._recover()
                row = self.rows.take(kind, me)
            if row is None and self._grow(kind):
                row = self.rows.take(kind, me)
            if row is None:
                return None
            if pages == 0:
                return Claim(row, row.generation, None)
            extent = self._take_extent(pages)
            if extent is None:
                self.rows.free(row)
                return None
            row[Field.START] = extent.start
            row[Field.PAGES] = extent.pages
            return Claim(row, row.generation, extent)

    def _take_extent(self, pages: int) -> Extent | None:
        extent = self.extents.take(pages)
        if extent is None and self.reclaim():
            extent = self.extents.take(pages)
        return extent

    def _grow(self, kind: int) -> bool:
        slot_bytes = SLOT_SIZES[kind]
        before = self.rows.rows_of(kind)
        if slot_bytes == 0:
            count = min(max(before, _MIN_PLAIN_ROWS), _MAX_PLAIN_ROWS)
        else:
            slots = min(max(before * slot_bytes, _MIN_CHUNK_BYTES), _MAX_CHUNK_BYTES) // slot_bytes
            count = min(max(_MIN_SLOTS, slots), MAX_ROWS_IN_CHUNK)
        row_pages = pages_for(count * ROW_BYTES)
        extent = self._take_extent(row_pages + pages_for(count * slot_bytes))
        if extent is None:
            return False
        added = False
        try:
            if extent.warm:
                self.pages.write(extent.start * PAGE_BYTES, bytes(row_pages * PAGE_BYTES))
            else:
                self.pages.fill(extent.start * PAGE_BYTES, extent.pages * PAGE_BYTES)
            added = self.rows.add(ChunkPlace(kind, extent.start, count))
        finally:
            if not added:
                self.give_up(extent)
        if not added:
            raise error("ERR_NDSHM_FULL", f"'{self.name}' has as many objects as there are numbers for")
        return True

    def publish(self, row: Row, generation: int) -> None:
        """Any process finds it from now on."""
        row.set_state(generation, State.LIVE)
        self.state.attachment.notify()

    def abandon(self, row: Row, generation: int) -> None:
        """Nobody will ever find it; its pages may not all be there. Nothing, if close() has done so already."""
        with self.locked():
            if self._is_mine(row, State.MAKING) and row.generation == generation:
                self._abandon(row)
        self.state.attachment.notify()

    def _is_mine(self, row: Row, state: int) -> bool:
        return row.state == state and row.owner == self.state.me

    def _abandon(self, row: Row) -> None:
        """Its pages may still be written to, by a draft that nobody closed."""
        if self._discard is not None:
            self._discard(row)
        row[Field.PARTIAL] = 1
        self.retire(row)

    # ---- under the lock ----

    def release(self, start: int, pages: int) -> None:
        """Pages that are whole: they stay, to be used again."""
        if not self.extents.give(Extent(start, pages, True)):
            self.give_up(Extent(start, pages, True))

    def give_up(self, extent: Extent) -> None:
        """Pages of which some may be missing: all go back to the system."""
        self.pages.punch(extent.start * PAGE_BYTES, extent.pages * PAGE_BYTES)
        if not self.extents.give(extent._replace(warm=False)):
            self.extents.used_pages -= extent.pages

    def _drop(self, row: Row) -> None:
        """Gives a row up whose pages nobody looks at."""
        start, pages = row[Field.START], row[Field.PAGES]
        if pages > 0:
            self.check_extent(start, pages)
            if row[Field.PARTIAL] == 0:
                self.release(start, pages)
            else:
                self.give_up(Extent(start, pages, True))
        self.rows.free(row)

    def retire(self, row: Row) -> None:
        """Ends an object whose pages somebody may still read: they wait for that."""
        row.set_state(row.generation, State.LIMBO)
        # Readers lease first and look at the state then: whoever leases from now on lets go again.
        if self.is_mapped(row):
            row[Field.NEXT] = self._words[_LIMBO]
            self._words[_LIMBO] = row.id + 1
        else:
            self._drop(row)

    def begin_spilling(self, row: Row) -> None:
        """It stays readable meanwhile."""
        row.owner = self.state.me
        row.set_state(row.generation, State.SPILLING)

    def end_spilling(self, row: Row, generation: int) -> bool:
        """It is live again; False if it has been deleted meanwhile."""
        if not self._is_mine(row, State.SPILLING) or row.generation != generation:
            return False
        row.set_state(generation, State.LIVE)
        return True

    def end(self, row: Row) -> None:
        """Ends what has no pages of the heap's, but something that `discard` takes away."""
        generation = row.generation
        row.set_state(generation, State.LIMBO)  # whoever dies from here on leaves the rest to _rebuild()
        try:
            self._end(row)
        except (Error, OSError):  # not what interrupts: then locked() ends it
            row.set_state(generation, State.LIVE)
            raise

    def _end(self, row: Row) -> None:
        if self._discard is not None:
            self._discard(row)
        self.rows.free(row)

    def _is_leased(self, row: Row) -> bool:
        start, pages = row[Field.START], row[Field.PAGES]
        self.check_extent(start, pages)
        return self.pages.is_leased(start * PAGE_BYTES, pages * PAGE_BYTES)

    def is_mapped(self, row: Row) -> bool:
        """Whether anybody has it mapped."""
        return row[Field.PAGES] > 0 and self._is_leased(row)

    def reclaim(self) -> bool:
        """Takes back what the dead were making, and what nobody reads any more; whether that was anything."""
        reclaimed = self._recover()
        following, left = self._words[_LIMBO], 0
        while following != 0:
            row = self.rows.row(following - 1)
            if row is None or row.state != State.LIMBO:
                break  # overwritten: nobody's any more
            following = row[Field.NEXT]
            if self._is_leased(row):
                row[Field.NEXT] = left
                left = row.id + 1
            else:
                self._drop(row)
                reclaimed = True
        self._words[_LIMBO] = left
        return reclaimed

    def _recover(self) -> bool:
        """What a dead peer was making is nobody's. Looks at all rows, but only if somebody who made any has died."""
        # First, since others may die while we look at the rows. If we die there, _rebuild() looks at all of them.
        if not self._writers.bury():
            return False
        self._recover_rows()
        return True

    def _recover_rows(self) -> None:
        for row in self.rows.select(State.MAKING, State.SPILLING):
            if not self.state.is_dead(row.owner):
                continue
            if row.state == State.SPILLING:
                row.set_state(row.generation, State.LIVE)
            elif row.state == State.MAKING:
                self._abandon(row)
        self.state.attachment.notify()

    def _rebuild(self) -> None:
        """Somebody died under the lock: everything but the rows' states is built anew."""
        in_use = []
        for number in range(self.rows.chunk_count):
            place = self.rows.place_of(number)
            pages = pages_for(place.count * ROW_BYTES) + pages_for(place.count * SLOT_SIZES[place.kind])
            in_use.append((place.start, pages))
        limbo = 0
        for row in self.rows.select(State.MAKING, State.LIVE, State.LIMBO, State.SPILLING, State.SPILLED):
            state, pages = row.state, row[Field.PAGES]
            if row.chunk.kind != 0:
                continue
            if pages == 0:
                if state == State.LIMBO:
                    self._end(row)
                continue
            if state == State.SPILLED:
                # Whoever spilled it died before its pages were free: somebody may have leased them just before.
                if not self._is_leased(row):
                    row[Field.PAGES] = 0
                    continue
                row.set_state(row.generation, State.LIVE)
            in_use.append((row[Field.START], pages))
            if state == State.LIMBO:
                row[Field.NEXT] = limbo
                limbo = row.id + 1
        self.rows.relink()
        self._words[_LIMBO] = limbo
        # What is in the holes may be half of something.
        for start, pages in self.extents.rebuild(in_use):
            self.pages.punch(start * PAGE_BYTES, pages * PAGE_BYTES)
        self._recover_rows()

    # ---- the end ----

    def close(self) -> None:
        """May be called again. The last peer of an ephemeral one takes all of it away."""
        with self.pages.lock:  # after what another thread is storing just now
            if self._closed:
                return
            self._closed = True
        self._forget_exit()
        try:
            if not self.state.closed:
                self._leave()
        except (Error, OSError):
            pass  # the words are damaged, or their lock is held for too long: what we leave is what the dead leave
        self.state.close()
        self.pages.close()
        # While the name is there so are other peers; and to look at each member takes long if there are many.
        if self._ephemeral and not os.path.exists(DIRECTORY + self.name):
            reap_members(self.name)

    def _leave(self) -> None:
        with self.locked():
            for row in self.rows.select(State.MAKING, State.SPILLING):
                if self._is_mine(row, State.MAKING):
                    self._abandon(row)
                else:
                    self.end_spilling(row, row.generation)
            self._writers.set_mine(0)
        self.state.attachment.notify()

    def unlink(self) -> None:
        """Ends it for everybody: what others have mapped stays with them until they let go."""
        if self.closed:
            raise error("ERR_NDSHM_CLOSED", f"'{self.name}' has been closed; open it again")
        # Nobody begins anything from here on.
        _library.fast.ndshm_atomic_store(self._address + 4 * _ENDED, 4, 1)
        try:
            with self.locked():
                if self._discard is not None:
                    for row in self.rows.select(State.LIVE):
                        self._discard(row)
        except (Error, OSError):
            pass  # the words are damaged, or a name is not ours to take away: orphans from here on, for gc()
        self.state.attachment.notify()
        self.state.unlink()
        reap_members(self.name)


def _total_pages(capacity_pages: int) -> int:
    """More than may exist at a time, since what is free lies in pieces. Holes cost nothing."""
    return min(4 * capacity_pages + 2**16, 2**31 - 1)


def _extents_of(words: memoryview, capacity_pages: int) -> Extents:
    return Extents(words[_EXTENTS:], _total_pages(capacity_pages), capacity_pages)


def _in_words(pages: int) -> str:
    return bytes_in_words(pages * PAGE_BYTES)


def _init(words: Words, capacity_pages: int) -> None:
    _extents_of(words.memory, capacity_pages).rebuild([])
