"""Finds room for new objects, and makes some where there is none."""

from __future__ import annotations

import errno
import gc
from typing import Callable, NamedTuple

from .. import directory
from ..errors import Error, bytes_in_words, error
from ._heap import Claim, Heap
from ._reservoir import PAGE_BYTES, pages_for
from ._rows import Field, Row, State
from ._spill import SpillFolder, remove_file, spill_error


class _Spilling(NamedTuple):
    """An object on its way to disk."""

    row: Row
    generation: int
    start: int
    byte_length: int


class Room:
    """What is free, and then what was used longest ago."""

    def __init__(self, heap: Heap, spill_folder: Callable[[], SpillFolder | None]) -> None:
        self._heap = heap
        self._spill_folder = spill_folder

    def claim(self, kind: int, pages: int) -> Claim:
        """A row of a class with as many pages. Errors: ERR_NDSHM_CAPACITY, ENOSPC."""
        while True:
            try:
                claim = self._heap.take(kind, pages)
            except OSError as failure:
                if not is_full(failure) or not self.relieve():
                    raise
                continue
            if claim is not None:
                return claim
            if pages > self._heap.extents.capacity_pages or not self.relieve():
                raise self._capacity_error(pages)

    def relieve(self) -> bool:
        """Gives something back to the system, or to be used again; False if there is nothing more."""
        return self._give_back() or len(directory.gc()) > 0 or self._collect() or self._spill_one()

    def _give_back(self) -> bool:
        heap = self._heap
        with heap.locked():
            if heap.reclaim():
                return True
            unused = heap.extents.take_warmest()
            if unused is None:
                return False
            heap.give_up(unused)
            return True

    def _collect(self) -> bool:
        """Whether anything was free once this process had let go of what only cycles of garbage refer to."""
        if not self._heap.pages.has_leases:
            return False
        gc.collect()
        with self._heap.locked():
            return self._heap.reclaim()

    def _spill_one(self) -> bool:
        """Puts the object that was used longest ago, and that nobody has mapped, on disk; False if there is none."""
        folder = self._spill_folder()
        if folder is None:
            return False
        heap = self._heap
        with heap.locked():
            spilling = self._least_recently_used()
        if spilling is None:
            return False
        row, generation, start, byte_length = spilling
        file = None
        try:
            pages = heap.pages.map(start * PAGE_BYTES, pages_for(byte_length) * PAGE_BYTES)
            file = folder.write(row.id, generation, pages.memory[:byte_length])
        except OSError as cause:
            raise spill_error(cause, folder.path) from cause
        finally:
            kept = False
            if not heap.closed:  # after close() it is live again already
                with heap.locked():
                    kept = self._end_spilling(row, generation, folder, file)
            if not kept and file is not None:
                remove_file(file)
        return True

    def _least_recently_used(self) -> _Spilling | None:
        """Under the lock: it is being spilled from now on."""
        heap = self._heap
        now = heap.now
        oldest, age = None, -1
        for row in heap.rows.select(State.LIVE):
            unused = (now - row[Field.LAST_USE]) & 0xFFFFFFFF
            if row.chunk.kind == 0 and row[Field.PAGES] > 0 and unused > age and not heap.is_mapped(row):
                oldest, age = row, unused
        if oldest is None:
            return None
        start, byte_length = oldest[Field.START], oldest.byte_length
        heap.check_extent(start, pages_for(byte_length))
        heap.begin_spilling(oldest)
        return _Spilling(oldest, oldest.generation, start, byte_length)

    def _end_spilling(self, row: Row, generation: int, folder: SpillFolder, file: str | None) -> bool:
        """Under the lock. Whether it is on disk from now on: it may have been deleted, or leased, meanwhile."""
        heap = self._heap
        if not heap.end_spilling(row, generation) or file is None:
            return False
        folder.keep(file, row.id, generation)
        # Readers lease first and look at the state then.
        row.set_state(generation, State.SPILLED)
        if heap.is_mapped(row):
            row.set_state(generation, State.LIVE)
            folder.remove(row.id, generation)
            return False
        start, pages = row[Field.START], row[Field.PAGES]
        row[Field.PAGES] = 0  # from here on they are nobody's, whoever dies
        heap.release(start, pages)
        return True

    def _capacity_error(self, pages: int) -> Error:
        heap = self._heap
        counts = (pages, heap.extents.capacity_pages, heap.extents.used_pages)
        wanted, capacity, used = (bytes_in_words(count * PAGE_BYTES) for count in counts)
        remedy = (
            "Delete objects, or give it more capacity or a spill_dir"
            if self._spill_folder() is None
            else "Nothing more can be spilled: delete objects, or let go of what is mapped"
        )
        return error(
            "ERR_NDSHM_CAPACITY",
            f"{wanted} wanted, and of the {capacity} of the store '{heap.name}' {used} are held: {self._holders()}. "
            f"{remedy}",
        )

    def _holders(self) -> str:
        """Who holds how much."""
        heap = self._heap
        pages_of: dict[int, list[int]] = {}  # by pid: pages, objects, mapped ones
        small = 0
        with heap.locked():
            for row in heap.rows.select(State.MAKING, State.LIVE, State.LIMBO, State.SPILLING):
                if row.chunk.kind != 0:
                    small += 1
                    continue
                held = pages_of.setdefault(row[Field.PID], [0, 0, 0])
                held[0] += row[Field.PAGES]
                held[1] += 1
                held[2] += heap.is_mapped(row)
        most = sorted(pages_of.items(), key=lambda item: -item[1][0])
        texts = [
            f"{bytes_in_words(pages * PAGE_BYTES)} in {objects} objects that process {pid} put ({mapped} mapped)"
            for pid, (pages, objects, mapped) in most[:5]
        ]
        if len(most) > 5:
            texts.append(f"{len(most) - 5} processes more")
        return ", ".join([*texts, f"{small} small objects"])


def is_full(failure: BaseException) -> bool:
    return isinstance(failure, OSError) and failure.errno == errno.ENOSPC
