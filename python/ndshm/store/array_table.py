"""A table of arrays by integer handle, for all processes on the host."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Callable, NamedTuple

from .._at_exit import close_at_exit
from .._attachment import Attachment
from .._by_name import pickled
from .._options import check_name
from .._segments import PATIENCE, open_segment
from ..array import SharedArray, whole
from ..directory import unlink
from ..errors import Error, error, wrong_kind
from ._heap import Claim, Heap
from ._member import create_member, is_member
from ._rows import MAX_GENERATION, Row, State, generation_of, state_of, word_of

# A handle: the generation, and the number of the row, which has 29 bits.
_ROW_NUMBERS = 2**29
# Rows are all that the heap holds here: some 2**24 of them at most.
_HEAP_PAGES = 2**18


class _Found(NamedTuple):
    """A place in the table, and what is to be found in its first word."""

    row: Row
    word: int


class ArrayTable:
    """A table of arrays by integer handle, valid in every process that opens the table: shared, writable, with locks.

    Handles of freed arrays are never those of others: each use of a place in the table has a generation of its own. The
    table grows as long as there is memory.

    Arrays live until free_array(), or until the table ends: with unlink(), or if it is ephemeral with its last process.
    Whatever process dies at whatever step, an array is there whole or not at all. Threads may share a table, and after
    os.fork() the child goes on with it as a peer of its own. Errors of all methods: ERR_NDSHM_CLOSED.

    >>> import ndshm
    >>> table = ndshm.ArrayTable.open("particles", ephemeral=True)
    >>> handle = table.create_array((1000, 3), "float64")  # a number, for any process
    >>> positions = table.get_array(handle)
    >>> positions[0, 0] = 1.5
    >>> positions.close()
    >>> table.free_array(handle)
    >>> table.close()
    """

    def __init__(self, name: str, *, ephemeral: bool = False, allow_foreign_owner: bool = False) -> None:
        self.name = check_name(name)
        check_name(f"{name}.{_ROW_NUMBERS - 1}.{MAX_GENERATION}")  # the longest that an array of it may be called
        self._allow_foreign_owner = allow_foreign_owner
        self._heap = Heap(
            name,
            "ArrayTable",
            otherwise_pages=_HEAP_PAGES,
            discard=lambda row: self._unlink(self._name_of(row, row.word)),
            ephemeral=ephemeral,
            allow_foreign_owner=allow_foreign_owner,
        )

    @classmethod
    def open(cls, name: str, *, ephemeral: bool = False, allow_foreign_owner: bool = False) -> ArrayTable:
        """Opens the table of this name, or makes it. Does not block.

        `ephemeral`: it belongs to its peers, and is gone with the last one that closes it; default: until unlink().
        Errors: ERR_NDSHM_MISMATCH if the name means something else, and those of create().
        """
        return cls(name, ephemeral=ephemeral, allow_foreign_owner=allow_foreign_owner)

    @property
    def _segment_id(self) -> str:
        return self._heap.id

    def __reduce__(self) -> tuple[object, ...]:
        return pickled(self, ephemeral=True)

    @property
    def closed(self) -> bool:
        return self._heap.closed

    def _name_of(self, row: Row, word: int) -> str:
        return f"{self.name}.{_label_of(row, word)}"

    def _is_ours(self, name: str) -> bool:
        """Whether the name is that of an array of this very table: it may be an earlier one's, or of anything else."""
        return is_member(name, bytes.fromhex(self._heap.id))

    def _unlink(self, name: str) -> None:
        try:
            if self._is_ours(name):
                unlink(name)
        except FileNotFoundError:
            pass

    def create_array(
        self,
        shape: int | Sequence[int],
        dtype: Any = "float64",
        *,
        order: str = "C",
        init: Callable[[SharedArray], None] | None = None,
    ) -> int:
        """Makes an array of zeros and returns its handle, which means it in every process.

        `init` is called with the new array before anybody can get it; if it raises, nothing is left. Blocks for as long
        as create() does. Errors: those of create(), ERR_NDSHM_FULL.
        """
        if init is not None and not callable(init):
            raise wrong_kind("a function", "init", init)
        begun = False

        def begin(attachment: Attachment) -> None:
            nonlocal begun
            begun = True
            assert init is not None
            init(whole(attachment))

        for attempt in range(PATIENCE):
            claim = self._heap.take(0, 0)
            if claim is None:
                raise error("ERR_NDSHM_FULL", f"The table '{self.name}' has no room for more arrays")
            try:
                return self._make(claim, shape, dtype, order, None if init is None else begin)
            except FileExistsError:
                # The name may be that of an earlier table's array, which somebody still has open: the row's next one is
                # another.
                if begun or attempt == PATIENCE - 1:
                    raise
        raise AssertionError("unreachable")

    def _make(
        self,
        claim: Claim,
        shape: int | Sequence[int],
        dtype: Any,
        order: str,
        init: Callable[[Attachment], None] | None,
    ) -> int:
        heap = self._heap
        row, generation, _ = claim
        word = word_of(generation, State.LIVE)
        name = self._name_of(row, word)
        try:
            create_member(heap.state.attachment, _label_of(row, word), dtype, shape, order, init=init).close()
            with heap.writing():  # init() may have closed the table
                heap.publish(row, generation)
        except BaseException:
            if heap.closed:
                self._unlink(name)
            else:
                heap.abandon(row, generation)
            raise
        return generation * _ROW_NUMBERS + row.id

    def get_array(self, handle: int, mode: str = "r+") -> SharedArray:
        """Opens the array of a handle, in any process that has the table open; the caller closes it. Does not block.

        Errors: ERR_NDSHM_STALE_HANDLE if it has been freed, and those of open().
        """
        row, word = self._find(handle)
        name = self._name_of(row, word)
        if row.word != word:
            raise self._stale_error(handle)
        try:
            attachment = open_segment(name, mode, self._allow_foreign_owner)
        except FileNotFoundError:
            raise self._stale_error(handle) from None
        is_ours = False
        try:
            # The table's own name may mean another table by now, with arrays of the same names.
            is_ours = self._is_ours(name)
        finally:
            if not is_ours:
                attachment.close()
        if not is_ours:
            raise self._stale_error(handle)
        close_at_exit(attachment)  # before the table, which leaves alone what anybody has open
        return whole(attachment)

    def free_array(self, handle: int) -> None:
        """Frees the array: nobody gets it any more, and its place may be another's.

        Whoever has it open keeps it; its memory is free when the last one has closed it.
        Errors: ERR_NDSHM_STALE_HANDLE if it has been freed before.
        """
        row, word = self._find(handle)
        with self._heap.locked():
            if row.word != word:
                raise self._stale_error(handle)
            self._heap.end(row)

    def has(self, handle: int) -> bool:
        """Whether get_array() would give the array now."""
        found = self._look_up(handle)
        return found is not None and found.row.word == found.word

    def handles(self) -> list[int]:
        """The handles of all arrays, in no order."""
        self._heap.check()
        words = ((row, row.word) for row in self._heap.rows.select(State.LIVE))
        return [generation_of(word) * _ROW_NUMBERS + row.id for row, word in words if state_of(word) == State.LIVE]

    def _find(self, handle: int) -> _Found:
        found = self._look_up(handle)
        if found is None:
            raise self._stale_error(handle)
        return found

    def _look_up(self, handle: int) -> _Found | None:
        """None if there is no such place."""
        if type(handle) is not int:
            raise wrong_kind("a handle, as create_array() gives it,", "handle", handle)
        if not 0 <= handle < 2**53:
            raise error(
                "ERR_NDSHM_OUT_OF_RANGE", f"Expected a handle, as create_array() gives it, but received {handle}"
            )
        self._heap.check()
        generation, number = divmod(handle, _ROW_NUMBERS)
        row = self._heap.rows.row(number)
        return None if row is None else _Found(row, word_of(generation, State.LIVE))

    def _stale_error(self, handle: int) -> Error:
        return error("ERR_NDSHM_STALE_HANDLE", f"The table '{self.name}' has no array {handle}: it has been freed")

    def close(self) -> None:
        """Lets go of the table. Arrays that get_array() gave stay open. May be called again."""
        self._heap.close()

    def unlink(self) -> None:
        """Ends the table for everybody, and takes all its arrays' names away. Whoever has one of them open keeps it."""
        self._heap.unlink()

    def __enter__(self) -> ArrayTable:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ndshm.ArrayTable '{self.name}'{', closed' if self.closed else ''}>"


def _label_of(row: Row, word: int) -> str:
    return f"{row.id}.{generation_of(word)}"
