"""An object store by name, for all processes on the host."""

from __future__ import annotations

import asyncio
import builtins
import os
import threading
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from types import TracebackType
from typing import Any, Callable, Literal

from .. import _library
from .._attachment import Attachment, PeerId, Stop, in_thread
from .._by_name import pickled
from .._layout import DIRECTORY
from .._npy import check_dtype, check_shape, checked_byte_length
from .._options import check_name, check_timeout, integer_in, one_of
from ..codec import Encoded, decode, encode, encode_array
from ..errors import Error, Timeout, error, wrong_kind
from ._byte_count import byte_count
from ._copy import copy_object, fill_zeros
from ._extents import Extent
from ._heap import Claim, Heap
from ._reservoir import PAGE_BYTES, Pages, pages_for
from ._room import Room, is_full
from ._rows import (
    MAX_GENERATION,
    MAX_SLOT_BYTES,
    SLOT_SIZES,
    Field,
    Row,
    State,
    generation_of,
    is_sealed,
    state_of,
    word_of,
)
from ._spill import SpillFolder
from .draft import Draft, Elements
from .object_ref import ObjectRef, check_ref

_MAX_CAPACITY_PAGES = 2**28  # 1 TiB
# So many objects are looked at in one stay under the lock: others who want it give up after a second.
_LISTED_AT_ONCE = 1000


@dataclass(frozen=True)
class ObjectInfo:
    """One object, as list() gives it."""

    ref: ObjectRef
    state: str
    """'making': not sealed yet. 'sealed'. 'deleted': somebody still has it mapped. 'spilled': on disk."""
    byte_length: int
    """Encoded, with its arrays; 0 while it is being made."""
    mapped: bool
    """Whether any process has it mapped."""
    pid: int
    """The process that put it, as it sees itself."""
    created_at: datetime


@dataclass(frozen=True)
class StoreInfo:
    name: str
    id: str
    capacity_bytes: int
    used_bytes: int
    """Shared memory that exists now: in use, or free and ready to be used again."""
    ready_bytes: int
    """Of these, how many are free."""
    objects: int
    object_bytes: int
    """Of all objects, encoded."""
    spilled_objects: int
    spilled_bytes: int
    spill_dir: str | None


_STATE_NAMES = {
    State.MAKING: "making",
    State.LIVE: "sealed",
    State.SPILLING: "sealed",
    State.LIMBO: "deleted",
    State.SPILLED: "spilled",
}


class Store:
    """An object store by name, for all processes on the host, in Python and Node.

    put() copies a value into shared memory once, and get() gives it in any process without copying its arrays, in the
    same time for any size. Objects are immutable, as Ray's.

    There is no server. The store belongs to the processes that have it open: when the last one has left, however it
    ended, all of it is gone. An object lives until delete(); whoever still reads it then keeps its memory until the
    last array of it is gone. Threads may share a Store, and after os.fork() the child goes on with it as a peer of its
    own.

    Errors of all methods: ERR_NDSHM_CLOSED, ERR_NDSHM_TRUNCATED, ERR_NDSHM_CONTROL_CORRUPT.

    >>> import ndshm, numpy as np
    >>> store = ndshm.Store.open("jobs", capacity="64MiB")
    >>> ref = store.put({"weights": np.zeros(100_000), "epoch": 3})
    >>> message = ref.to_json()  # by a pipe, HTTP, argv ..., or pickled
    >>> value = store.get(ndshm.ObjectRef.from_json(message))  # in any process
    >>> len(value["weights"]), value["epoch"]
    (100000, 3)
    >>> store.delete(ref)
    True
    >>> store.close()
    """

    def __init__(
        self,
        name: str,
        *,
        capacity: int | str | None = None,
        spill_dir: str | os.PathLike[str] | None = None,
        allow_foreign_owner: bool = False,
    ) -> None:
        self.name = check_name(name)
        capacity_pages = None if capacity is None else byte_count(capacity, "capacity") // PAGE_BYTES
        if capacity_pages is not None:
            integer_in(capacity_pages, 1, _MAX_CAPACITY_PAGES, "capacity, in pages of 4096 bytes,")
        wanted = None if spill_dir is None else _path_of(spill_dir)
        self._heap = Heap(
            name,
            "Store",
            capacity_pages=capacity_pages,
            otherwise_pages=_default_capacity_pages(),
            ephemeral=True,
            allow_foreign_owner=allow_foreign_owner,
        )
        try:
            # Under the lock: two who say it at once say it one after the other.
            with self._heap.locked():
                self._spill_folder = self._open_spill(wanted)
        except BaseException:
            self._heap.close()
            raise
        self._room = Room(self._heap, self._spill)

    @classmethod
    def open(
        cls,
        name: str,
        *,
        capacity: int | str | None = None,
        spill_dir: str | os.PathLike[str] | None = None,
        allow_foreign_owner: bool = False,
    ) -> Store:
        """Opens the store of this name, or makes it. Does not block.

        `capacity`: how much shared memory it takes at most, in bytes or like '2GiB'; default: half of /dev/shm. If the
        store exists: has to be what it was made with, where given.
        `spill_dir`: a folder on disk for what does not fit: past the capacity, the objects that were used longest ago
        and that nobody has mapped go there, and come back as mapped files. Default: none; a put that does not fit
        fails. Set by whoever first says it, for all.
        Errors: ERR_NDSHM_MISMATCH if it was made with another capacity or spill_dir or the name means something else,
        ERR_NDSHM_OUT_OF_RANGE, and those of create().
        """
        return cls(name, capacity=capacity, spill_dir=spill_dir, allow_foreign_owner=allow_foreign_owner)

    def _open_spill(self, wanted: str | None) -> SpillFolder | None:
        attachment = self._heap.state.attachment
        found = SpillFolder.of(attachment)
        if wanted is None:
            return found
        if found is None:
            return SpillFolder.make(attachment, wanted)
        directory = os.path.dirname(found.path)
        if directory == wanted:
            return found
        raise error("ERR_NDSHM_MISMATCH", f"The store '{self.name}' spills to '{directory}', not to '{wanted}'")

    def _spill(self) -> SpillFolder | None:
        """Another process may have said meanwhile where to spill."""
        if self._spill_folder is None:
            self._spill_folder = SpillFolder.of(self._heap.state.attachment)
        return self._spill_folder

    @property
    def _segment_id(self) -> str:
        return self._heap.id

    def __reduce__(self) -> tuple[object, ...]:
        return pickled(self)

    @property
    def closed(self) -> bool:
        return self._heap.closed

    # ---- putting ----

    def put(self, value: Any) -> ObjectRef:
        """Copies a value into the store, and returns its ref: from then on any process can get it.

        Takes None, bool, int, float, str, bytes, datetime, dict, list, tuple, set, numpy arrays and scalars,
        SharedArrays and Arrow tables, nested to any depth. Arrays lie aligned in shared memory. Blocks for as long as
        the copying takes; other threads run meanwhile.
        Errors: ERR_NDSHM_INVALID_ARGUMENT for what cannot be encoded (a function), ERR_NDSHM_CAPACITY, ENOSPC. Then
        nothing of it is left.
        """
        return self._put(encode(value), _go_on)

    async def put_async(self, value: Any) -> ObjectRef:
        """put(), but large values are copied by a thread; they must not be changed before it is done.

        If the task is cancelled, nothing of it is left.
        """
        encoded = encode(value)
        if encoded.byte_length <= MAX_SLOT_BYTES:
            return self._put(encoded, _go_on)
        cancelled = threading.Event()

        def go_on() -> None:
            if cancelled.is_set():
                raise error("ERR_NDSHM_CANCELLED", "The task that put the object was cancelled")

        # Not in_thread(): what that enters is the task's, and this one's lock no caller has to wait for.
        copying = asyncio.get_running_loop().run_in_executor(None, lambda: self._put(encoded, go_on))
        try:
            return await asyncio.shield(copying)
        except asyncio.CancelledError:
            cancelled.set()
            while not copying.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({copying})
            if copying.exception() is None:
                self.delete(copying.result())
            raise

    def _put(self, encoded: Encoded, go_on: Callable[[], None]) -> ObjectRef:
        self._heap.check()
        return self._put_small(encoded) if encoded.byte_length <= MAX_SLOT_BYTES else self._put_large(encoded, go_on)

    def _put_small(self, encoded: Encoded) -> ObjectRef:
        """Into a slot of a slab."""
        kind = _slot_class_of(encoded.byte_length)
        claim = self._room.claim(kind, 0)

        def copy() -> None:
            slots = claim.row.chunk.slots
            start = claim.row.index * SLOT_SIZES[kind]
            slots[start : start + len(encoded.head)] = encoded.head
            for offset, part in encoded.buffers:
                slots[start + offset : start + offset + part.nbytes] = part

        return self._finish(claim, encoded.byte_length, copy)

    def _put_large(self, encoded: Encoded, go_on: Callable[[], None]) -> ObjectRef:
        """Into pages of its own."""
        claim = self._claim_filled(
            encoded.byte_length, lambda extent: copy_object(self._heap.pages, extent, encoded, go_on)
        )
        return self._finish(claim, encoded.byte_length, lambda: None)

    def _claim_filled(self, byte_length: int, fill: Callable[[Extent], None]) -> Claim:
        """Pages for so many bytes, filled by `fill`; again, if there was no room in memory, and some was made."""
        while True:
            claim = self._room.claim(0, pages_for(byte_length))
            try:
                fill(_extent_of(claim))
                return claim
            except BaseException as failure:
                self._drop(claim)
                if not is_full(failure) or not self._room.relieve():
                    raise

    def _finish(self, claim: Claim, byte_length: int, copy: Callable[[], None]) -> ObjectRef:
        try:
            with self._heap.writing():
                copy()
                return self._publish(claim, byte_length)
        except BaseException:
            self._drop(claim)
            raise

    def _drop(self, claim: Claim) -> None:
        """Unless close() has done so."""
        if not self._heap.closed:
            self._heap.abandon(claim.row, claim.generation)

    def _publish(self, claim: Claim, byte_length: int) -> ObjectRef:
        """The step that makes it an object."""
        row, generation, _ = claim
        row.byte_length = byte_length
        row[Field.LAST_USE] = self._heap.tick()
        self._heap.publish(row, generation)
        return self._ref_of(row, generation)

    def _ref_of(self, row: Row, generation: int) -> ObjectRef:
        return ObjectRef(self.name, self._heap.id, row.id, generation)

    def create_array(
        self, shape: int | Sequence[int], dtype: object = "float64", *, order: Literal["C", "F"] = "C"
    ) -> Draft:
        """An array in the store's memory, for the caller to fill and then to seal(): a put without any copy.

        What is in it at first is undefined, as numpy.empty. Blocks while fresh pages are made, if there are none to use
        again. Errors: ERR_NDSHM_SHAPE, ERR_NDSHM_DTYPE, ERR_NDSHM_CAPACITY, ENOSPC.

        >>> import ndshm
        >>> store = ndshm.Store.open("frames", capacity="64MiB")
        >>> draft = store.create_array((480, 640), "float32")
        >>> draft.array[:] = 0.5
        >>> ref = draft.seal()
        >>> print(store.get(ref)[479, 639])  # in any process
        0.5
        >>> store.close()
        """
        elements = Elements(check_shape(shape), check_dtype(dtype), order)
        one_of(order, ("C", "F"), "order")
        checked_byte_length(elements.shape, elements.dtype.itemsize)
        self._heap.check()
        encoded = encode_array(elements.dtype, elements.shape, elements.order)
        claim = self._claim_filled(encoded.byte_length, self._make_pages)
        try:
            return Draft(self._heap, claim, self._ref_of(claim.row, claim.generation), encoded, elements, self._publish)
        except BaseException:
            self._drop(claim)
            raise

    def _make_pages(self, extent: Extent) -> None:
        if not extent.warm:
            fill_zeros(self._heap.pages, extent.start * PAGE_BYTES, extent.pages * PAGE_BYTES, _go_on)

    # ---- getting ----

    def get(self, ref: ObjectRef) -> Any:
        """The object. Arrays in it are read-only views on shared memory.

        (Objects of up to 64 KiB are copied out, which takes less time than a view.) Nothing else is copied but what
        Python has as values of its own. The memory is this process's to read until the last array is gone, and a forked
        child's, whatever becomes of the object or the store. `ref` may also be what from_json() takes. Does not block.
        Errors: ERR_NDSHM_STALE_HANDLE if it was deleted, if its maker died before it was sealed, or if it belongs to
        another store; ERR_NDSHM_NOT_SEALED; ERR_NDSHM_CORRUPT_OBJECT.
        """
        row, generation = self._find(ref)
        if row.chunk.kind != 0:
            return decode(self._copy_small(row, generation))
        mapped, byte_length = self._map(row, generation)
        row[Field.LAST_USE] = self._heap.tick()
        value = decode(mapped.memory[:byte_length])
        mapped.check()
        return value

    def _find(self, ref: ObjectRef) -> tuple[Row, int]:
        found = check_ref(ref, self.name, self._heap.id)
        self._heap.check()
        # A generation that no row comes to must not wrap around to one that it has.
        row = self._heap.rows.row(found.object) if found.generation <= MAX_GENERATION else None
        if row is None:
            raise self._gone_error(found.object)
        return row, found.generation

    def _copy_small(self, row: Row, generation: int) -> bytes:
        live = word_of(generation, State.LIVE)
        if row.word != live:
            raise self._why_not(row, generation)
        slot_bytes = SLOT_SIZES[row.chunk.kind]
        at = row.index * slot_bytes
        copy = bytes(row.chunk.slots[at : at + min(row[Field.LENGTH_LOW], slot_bytes)])
        _library.fast.ndshm_fence()  # the copy before the second look
        if row.word != live:
            raise self._why_not(row, generation)
        return copy

    def _map(self, row: Row, generation: int) -> tuple[Pages | Attachment, int]:
        """A large object's memory, and its length. Raises if it is not, or no more, to be read."""
        while True:
            word = row.word
            if not is_sealed(word, generation):
                raise self._why_not(row, generation)
            byte_length = row.byte_length
            if state_of(word) == State.SPILLED:
                file = self._map_spilled(row.id, generation, byte_length)
                if file is not None:
                    return file, byte_length
                if row.word == word:
                    raise error(
                        "ERR_NDSHM_CORRUPT_OBJECT", f"Object {row.id} was spilled, and its file is not there any more"
                    )
                continue
            start, pages = row[Field.START], pages_for(byte_length)
            self._heap.check_extent(start, pages)
            # The lease comes first, then another look: whoever deletes or spills it changes the state first and then
            # looks for leases. So one of the two sees the other.
            mapped = self._heap.pages.map(start * PAGE_BYTES, pages * PAGE_BYTES, leased=True)
            now = row.word
            if is_sealed(now, generation) and state_of(now) != State.SPILLED:
                return mapped, byte_length

    def _map_spilled(self, number: int, generation: int, byte_length: int) -> Attachment | None:
        folder = self._spill()
        if folder is None:
            return None
        try:
            return folder.map(number, generation, byte_length)
        except FileNotFoundError:
            return None

    def _why_not(self, row: Row, generation: int) -> Error:
        word = row.word
        is_making = generation_of(word) == generation and state_of(word) == State.MAKING
        if is_making and not self._is_lost(row):
            return error(
                "ERR_NDSHM_NOT_SEALED",
                f"Object {row.id} of the store '{self.name}' has not been sealed yet; wait() for it",
            )
        return self._gone_error(row.id)

    def _gone_error(self, number: int) -> Error:
        return error(
            "ERR_NDSHM_STALE_HANDLE",
            f"Object {number} of the store '{self.name}' has been deleted, or its maker died before it was complete",
        )

    def _is_lost(self, row: Row) -> bool:
        owner = row.owner
        return owner != self._heap.state.me and self._heap.state.is_dead(owner)

    def has(self, ref: ObjectRef) -> bool:
        """Whether get() would give the object now. Errors: ERR_NDSHM_STALE_HANDLE if the ref is another store's."""
        found = check_ref(ref, self.name, self._heap.id)
        self._heap.check()
        row = self._heap.rows.row(found.object)
        return row is not None and is_sealed(row.word, found.generation)

    def wait(
        self, refs: Sequence[ObjectRef], num_returns: int | None = None, timeout: float | None = None
    ) -> tuple[builtins.list[ObjectRef], builtins.list[ObjectRef]]:
        """Waits until `num_returns` of the refs (default: all) are ready: sealed, or never to be so.

        Returns those that are, at least so many, in the order given, and the others; get() says why one is never to be
        sealed. After `timeout` seconds with whatever is, as Ray's wait does. Blocks.
        Errors: ERR_NDSHM_OUT_OF_RANGE.
        """
        check_timeout(timeout)
        return self._waiting(refs, num_returns).until_ready(timeout, None)

    async def wait_async(
        self, refs: Sequence[ObjectRef], num_returns: int | None = None, timeout: float | None = None
    ) -> tuple[builtins.list[ObjectRef], builtins.list[ObjectRef]]:
        """wait(), but a thread waits."""
        check_timeout(timeout)
        waiting = self._waiting(refs, num_returns)
        stop = Stop()
        return await in_thread(lambda: waiting.until_ready(timeout, stop), stop)

    def _waiting(self, refs: Sequence[ObjectRef], num_returns: int | None) -> _Waiting:
        if not isinstance(refs, (list, tuple)):
            raise wrong_kind("a list of object refs", "refs", refs)
        wanted = len(refs) if num_returns is None else integer_in(num_returns, 0, len(refs), "num_returns")
        found = [check_ref(ref, self.name, self._heap.id) for ref in refs]
        self._heap.check()
        return _Waiting(self, found, wanted)

    def _is_settled(self, ref: ObjectRef) -> bool:
        row = self._heap.rows.row(ref.object)
        if row is None:
            return True
        word = row.word
        return generation_of(word) != ref.generation or state_of(word) != State.MAKING or self._is_lost(row)

    # ---- ending ----

    def delete(self, ref: ObjectRef) -> bool:
        """Deletes the object, whoever put it: nobody finds it any more.

        Whoever reads it keeps it; its memory is used again when the last one has let go. True if this call deleted it,
        False if it was gone. Errors: ERR_NDSHM_NOT_SEALED, ERR_NDSHM_STALE_HANDLE if the ref belongs to another store.
        """
        found = check_ref(ref, self.name, self._heap.id)
        heap = self._heap
        heap.check()
        row = heap.rows.row(found.object)
        if row is None:
            return False
        with heap.locked():
            word = row.word
            if generation_of(word) != found.generation:
                return False
            state = state_of(word)
            if state == State.MAKING and not self._is_lost(row):
                raise self._why_not(row, found.generation)
            if not is_sealed(word, found.generation):
                return False
            if row.chunk.kind != 0 or state == State.SPILLED:
                heap.rows.free(row)
            else:
                heap.retire(row)
        if state == State.SPILLED:
            folder = self._spill()
            if folder is not None:
                folder.remove(found.object, found.generation)
        return True

    def list(self) -> builtins.list[ObjectInfo]:
        """All objects, in no order. Those that come or go meanwhile may be among them."""
        heap = self._heap
        heap.check()
        with heap.locked():
            heap.reclaim()
        rows = heap.rows.select(*_STATE_NAMES)
        infos: builtins.list[ObjectInfo] = []
        for some in iter(lambda: tuple(islice(rows, _LISTED_AT_ONCE)), ()):
            with heap.locked():
                infos += filter(None, map(self._info_of, some))
        return infos

    def _info_of(self, row: Row) -> ObjectInfo | None:
        """None if it has become nobody's."""
        word = row.word
        state = _STATE_NAMES.get(state_of(word))
        if state is None:
            return None
        return ObjectInfo(
            ref=self._ref_of(row, generation_of(word)),
            state=state,
            byte_length=0 if state == "making" else row.byte_length,
            mapped=state != "spilled" and self._heap.is_mapped(row),
            pid=row[Field.PID],
            created_at=datetime.fromtimestamp(row[Field.CREATED_AT], timezone.utc),
        )

    def stat(self) -> StoreInfo:
        """How full the store is."""
        objects = self.list()
        spilled = [each.byte_length for each in objects if each.state == "spilled"]
        folder = self._spill()
        extents = self._heap.extents
        with self._heap.locked():
            ready_pages, used_pages = extents.warm_pages, extents.used_pages
        return StoreInfo(
            name=self.name,
            id=self._heap.id,
            capacity_bytes=extents.capacity_pages * PAGE_BYTES,
            used_bytes=used_pages * PAGE_BYTES,
            ready_bytes=ready_pages * PAGE_BYTES,
            objects=len(objects),
            object_bytes=sum(each.byte_length for each in objects),
            spilled_objects=len(spilled),
            spilled_bytes=sum(spilled),
            spill_dir=None if folder is None else folder.path,
        )

    def close(self) -> None:
        """Lets go of the store; the last process to do so takes all of it away.

        What get() gave stays. May be called again.
        """
        self._heap.close()

    def unlink(self) -> None:
        """Ends the store for everybody. What get() gave, here or elsewhere, stays."""
        self._heap.unlink()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ndshm.Store '{self.name}'{', closed' if self.closed else ''}>"


class _Waiting:
    """One call of wait()."""

    def __init__(self, store: Store, refs: list[ObjectRef], wanted: int) -> None:
        self._store = store
        self._refs = refs
        self._wanted = wanted
        self._settled = [False] * len(refs)

    def _look(self) -> bool | None:
        self._store._heap.check()
        for n, ref in enumerate(self._refs):
            self._settled[n] = self._settled[n] or self._store._is_settled(ref)
        return True if sum(self._settled) >= self._wanted else None

    def _makers(self) -> list[PeerId]:
        rows = self._store._heap.rows
        pending = (rows.row(ref.object) for ref, settled in zip(self._refs, self._settled) if not settled)
        return [row.owner for row in pending if row is not None]

    def until_ready(self, timeout: float | None, stop: Stop | None) -> tuple[list[ObjectRef], list[ObjectRef]]:
        with suppress(Timeout):
            self._store._heap.state.attachment.wait_until(self._look, timeout, self._makers, stop)
        ready: list[ObjectRef] = []
        pending: list[ObjectRef] = []
        for ref, settled in zip(self._refs, self._settled):
            (ready if settled else pending).append(ref)
        return ready, pending


def _path_of(spill_dir: object) -> str:
    if not isinstance(spill_dir, (str, os.PathLike)):
        raise wrong_kind("a path", "spill_dir", spill_dir)
    return os.path.abspath(os.fsdecode(spill_dir))


def _go_on() -> None:
    """For what nobody stops."""


def _extent_of(claim: Claim) -> Extent:
    assert claim.extent is not None
    return claim.extent


def _default_capacity_pages() -> int:
    """Half of /dev/shm."""
    found = os.statvfs(DIRECTORY)
    return min(max(found.f_blocks * found.f_frsize // 2 // PAGE_BYTES, 1024), _MAX_CAPACITY_PAGES)


def _slot_class_of(byte_length: int) -> int:
    """The smallest slot that holds so many bytes."""
    return bisect_left(SLOT_SIZES, byte_length)
