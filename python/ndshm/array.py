"""Arrays over shared memory, and how one makes and opens them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar, Union

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _versions, errors
from ._attachment import Attachment
from ._holds import ReadHold, TriedRead, TriedWrite, WriteHold, tried
from ._npy import NpyHeader, check_dtype, check_order, check_shape, checked_byte_length
from ._options import integer_in
from ._segment_file import OpenedFile
from ._segments import create_segment, open_segment
from ._stop import Stop, in_thread

T = TypeVar("T")
Shape = Union[int, Sequence[int]]


class SharedArray(np.ndarray):
    """A numpy array over shared memory; slices and other views are SharedArrays on the same memory, results of
    computations and copies are plain arrays. Made by create(), open() and their like.

    Elements are read and stored directly, without locks. In mode 'r' numpy refuses to store (ValueError). After close()
    the methods here raise ERR_NDSHM_CLOSED; the memory stays valid for as long as any numpy array views it.
    """

    _attachment: Attachment | None
    _is_view: bool
    _owns_attachment: bool  # closes it: the array that opened it, and a view that a handle has led to
    _closed: bool
    _plain_write: WriteHold | None
    _plain_read: ReadHold | None

    def __array_finalize__(self, source: object) -> None:
        attachment = getattr(source, "_attachment", None)
        self._attachment = attachment if attachment is not None and _root(self) is attachment.root else None
        self._is_view = True
        self._owns_attachment = False
        self._closed = False
        self._plain_write = None
        self._plain_read = None

    def __array_wrap__(self, result: np.ndarray, context: Any = None, return_scalar: bool | None = None) -> Any:
        if isinstance(result, SharedArray) and result._attachment is not None:
            return result  # given as out=
        # numpy 1 does not say whether a scalar is wanted.
        as_scalar = result.ndim == 0 if return_scalar is None else return_scalar
        return result[()] if as_scalar else result.view(np.ndarray)

    # ---- what it is ----

    @property
    def name(self) -> str | None:
        """Name of the segment; None for an anonymous array."""
        return self._shared.name

    @property
    def mode(self) -> str:
        """'r' read-only, 'r+' shared and writable, 'c' copy-on-write, as numpy.memmap has them."""
        return self._shared.mode

    @property
    def closed(self) -> bool:
        return self._closed or self._shared.closed

    @property
    def handle(self) -> dict[str, Any]:
        """A description from which attach() finds this array, or view, in any process on this host, Node's too: plain
        JSON, some 150 bytes. Errors: ERR_NDSHM_ANONYMOUS if it has no name, ERR_NDSHM_CLOSED."""
        attachment = self._open
        if attachment.name is None:
            raise errors.error("ERR_NDSHM_ANONYMOUS", "An anonymous array has no handle")
        handle: dict[str, Any] = {
            "ndshm": 1,
            "name": attachment.name,
            "id": attachment.id,
            "dtype": attachment.dtype.name,
            "shape": [*attachment.shape],
            "order": attachment.order,
        }
        if attachment.raw:
            handle["rawByteOffset"] = attachment.data_offset
        if self._is_view:
            handle["view"] = self._place()
        return handle

    def _place(self) -> dict[str, Any]:
        """Where a view lies in its array."""
        attachment = self._open
        if self.dtype != attachment.dtype:
            raise errors.InvalidArgument(f"A view of another dtype ({self.dtype}) has no handle; attach its array")
        offset = self.__array_interface__["data"][0] - attachment.address if self.size > 0 else 0
        return {"shape": [*self.shape], "strides": [*self.strides], "byteOffset": offset}

    @property
    def _shared(self) -> Attachment:
        if self._attachment is None:
            raise errors.error("ERR_NDSHM_ANONYMOUS", "This array is a copy in this process's own memory")
        return self._attachment

    @property
    def _open(self) -> Attachment:
        """The attachment. Errors: ERR_NDSHM_CLOSED, ERR_NDSHM_TRUNCATED."""
        attachment = self._shared
        attachment.check()
        if self._closed:
            raise errors.closed_error(attachment.who)
        return attachment

    # ---- the lock ----

    def write(self, on_abandoned: str = "error", timeout: float | None = None) -> WriteHold:
        """The exclusive lock of the array's segment, which all its views and all processes share, for a `with` or an
        `async with` block. `with` blocks until inside, at most `timeout` seconds (None: for ever); `async with` does
        not block the event loop.

        The lock survives its owner: if a process is killed inside, the next one gets in within some 10 ms, and is told:
        ERR_NDSHM_ABANDONED, or with on_abandoned='repair' a hold whose `abandoned` is True; its completed block takes
        the mark away. If the block raises, the lock is let go, and what it has written stays.
        Errors: ERR_NDSHM_TIMEOUT, ERR_NDSHM_ABANDONED, ERR_NDSHM_DEADLOCK (the thread, or task, holds the lock
        already), ERR_NDSHM_NO_CONTROL, ERR_NDSHM_READ_ONLY, ERR_NDSHM_CLOSED, ERR_NDSHM_CONTROL_CORRUPT.

        >>> import ndshm
        >>> with ndshm.create("demo-counts", 2, "int32", ephemeral=True) as counts:
        ...     with counts.write():
        ...         counts[0] += 1
        ...     int(counts[0]), counts.version
        (1, 2)
        """
        attachment = self._writable()
        if timeout is not None or on_abandoned != "error":
            return WriteHold(attachment, on_abandoned, timeout)
        # It has no state but what is the lock's own: to make another each time would cost more than to enter.
        if self._plain_write is None:
            self._plain_write = WriteHold(attachment)
        return self._plain_write

    def read(self, on_abandoned: str = "error", timeout: float | None = None) -> ReadHold:
        """The shared lock: many readers at a time, and no writer. Otherwise as write(), with on_abandoned='ignore' to
        read what may be half-written. Works in every mode, but not for a user who may not write to the segment
        (ERR_NDSHM_READ_ONLY): use snapshot().

        >>> import ndshm
        >>> with ndshm.from_array("demo-read", [1, 2], ephemeral=True) as numbers:
        ...     with numbers.read():
        ...         int(numbers.sum())
        3
        """
        attachment = self._open
        if timeout is not None or on_abandoned != "error":
            return ReadHold(attachment, on_abandoned, timeout)
        if self._plain_read is None:
            self._plain_read = ReadHold(attachment)
        return self._plain_read

    def try_write(self, on_abandoned: str = "error") -> WriteHold | None:
        """As write(), but takes the lock at once, for the `with` block to let it go; None if it is not to be had now.

        >>> import ndshm
        >>> with ndshm.create("demo-try", 2, ephemeral=True) as a:
        ...     hold = a.try_write()
        ...     if hold is not None:
        ...         with hold:
        ...             a[0] = 1
        """
        return tried(TriedWrite(self._writable(), on_abandoned, 0))

    def try_read(self, on_abandoned: str = "error") -> ReadHold | None:
        """As try_write(), for the shared lock."""
        return tried(TriedRead(self._open, on_abandoned, 0))

    def _writable(self) -> Attachment:
        attachment = self._open
        if attachment.mode != "r+":
            raise errors.error(
                "ERR_NDSHM_READ_ONLY",
                f"{attachment.who} is open in mode '{attachment.mode}', in which nothing is written for others; open "
                "in mode 'r+'",
            )
        return attachment

    # ---- without the lock ----

    @property
    def version(self) -> int:
        """Counts what was written under the lock: each completed write adds 2; odd while a writer is inside, or after
        one has died there. Errors: ERR_NDSHM_NO_CONTROL, ERR_NDSHM_CLOSED."""
        return self._open.version

    def snapshot(self, fn: Callable[[SharedArray], T] | None = None, timeout: float | None = None) -> T | np.ndarray:
        """Runs a function that only reads, without any lock, and again if a writer was inside meanwhile, until it has
        seen one consistent state. Returns its result; without a function, a copy of the array.

        Blocks while a writer is inside, at most `timeout` seconds (None: for ever). Costs writers nothing, and works in
        every mode, also for users who may only read. The function may run several times, and must not return a view.
        Errors: ERR_NDSHM_TIMEOUT, ERR_NDSHM_ABANDONED, ERR_NDSHM_NO_CONTROL, ERR_NDSHM_CLOSED.

        >>> import ndshm
        >>> with ndshm.from_array("demo-pair", [1, 2], ephemeral=True) as pair:
        ...     pair.snapshot().tolist(), int(pair.snapshot(lambda array: array.sum()))
        ([1, 2], 3)
        """
        return _versions.snapshot(self._open, self._read_by(fn), timeout)

    async def snapshot_async(
        self, fn: Callable[[SharedArray], T] | None = None, timeout: float | None = None
    ) -> T | np.ndarray:
        """As snapshot(), and does not block the event loop: the function runs in another thread."""
        stop, attachment = Stop(), self._open
        return await in_thread(lambda: _versions.snapshot(attachment, self._read_by(fn), timeout, stop), stop)

    def _read_by(self, fn: Callable[[SharedArray], T] | None) -> Callable[[], T | np.ndarray]:
        if fn is None:
            return self.copy
        if not callable(fn):
            raise errors.wrong_kind("a function", "what reads the array", fn)
        return lambda: fn(self)

    def changed(self, since: int | None = None, timeout: float | None = None) -> int:
        """Blocks until a write was completed, by whichever process, after version `since` (default: the present one),
        and returns the new version. Stores made without the lock change no version.

        `timeout` in seconds, None: for ever. Errors: ERR_NDSHM_TIMEOUT, ERR_NDSHM_NO_CONTROL, ERR_NDSHM_CLOSED.

        >>> import ndshm
        >>> with ndshm.create("demo-news", 1, ephemeral=True) as news:
        ...     seen = news.version
        ...     with news.write():
        ...         news[0] = 1
        ...     news.changed(since=seen) > seen
        True
        """
        return _versions.changed(self._open, since, timeout)

    async def changed_async(self, since: int | None = None, timeout: float | None = None) -> int:
        """As changed(), and does not block the event loop."""
        stop, attachment = Stop(), self._open
        after = _versions.completed(attachment) if since is None else since
        return await in_thread(lambda: _versions.changed(attachment, after, timeout, stop), stop)

    # ---- its life ----

    def close(self) -> None:
        """Ends this process's part in the array: its lock, its name among the living peers. Other processes are not
        affected; the named segment stays until unlink(), an ephemeral one until its last peer has left. numpy arrays
        that view the memory can still be read and written. Closing a view ends that view alone. May be called again."""
        if self._closed:
            return
        self._closed = True
        if self._owns_attachment:
            self._shared.close()

    def unlink(self) -> None:
        """Takes away the name by which others find this array, if it still means this array. Whoever has it open keeps
        it.

        Errors: ENOENT if the name is gone, ERR_NDSHM_STALE_HANDLE if it means another array by now, EACCES, EPERM,
        ERR_NDSHM_ANONYMOUS. Also after close()."""
        self._shared.unlink()

    def __enter__(self) -> SharedArray:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # ---- copies and other processes ----

    def copy(self, order: Any = "C") -> np.ndarray:  # type: ignore[override]
        """A plain array with a copy of the elements."""
        return np.array(self, order=order, copy=True, subok=False)

    def astype(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """As numpy's; the result is a plain array."""
        return self.view(np.ndarray).astype(*args, **kwargs)

    def __copy__(self) -> np.ndarray:  # type: ignore[override]
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any] | None) -> np.ndarray:  # type: ignore[override]
        return self.copy()

    def __reduce__(self) -> Any:
        """Pickled by handle: the same memory in another process on this host (multiprocessing's arguments, results)."""
        if self._attachment is None:
            return self.view(np.ndarray).__reduce__()
        from .handle import adopt, attach

        attachment = self._open
        if attachment.name is not None:
            return attach, (self.handle, attachment.mode, True)
        # An anonymous array is its descriptor, which multiprocessing alone can pass on.
        from multiprocessing.reduction import DupFd

        view = self._place() if self._is_view else None
        return adopt, (DupFd(attachment.descriptor), attachment.mode, view)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()


def _root(array: np.ndarray) -> object:
    """Whose memory it is: of a result or a copy, which numpy has allocated itself, an array's."""
    base = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    return base


def whole(attachment: Attachment) -> SharedArray:
    """The array of all elements, which owns the attachment."""
    shape, dtype, order = attachment.shape, attachment.dtype, attachment.order
    array = np.ndarray.__new__(SharedArray, shape, dtype, attachment.memory, 0, None, order)
    array._attachment = attachment
    array._is_view = False
    array._owns_attachment = True
    return array


def part(attachment: Attachment, shape: Sequence[int], strides: Sequence[int], byte_offset: int) -> SharedArray:
    """A view that owns the attachment, since nobody else knows of the whole array."""
    view = np.ndarray.__new__(SharedArray, shape, attachment.dtype, attachment.memory, byte_offset, strides)
    view._attachment = attachment
    view._owns_attachment = True
    return view


def attachment_of(array: SharedArray) -> Attachment:
    """The attachment behind an array."""
    return array._shared


def create(
    name: str,
    shape: Shape,
    dtype: DTypeLike = "float64",
    order: str = "C",
    if_exists: str = "error",
    *,
    ephemeral: bool = False,
    allow_foreign_owner: bool = False,
    init: Callable[[SharedArray], object] | None = None,
) -> SharedArray:
    """Creates an array of zeros under a name and returns it in mode 'r+'. The memory is reserved: a full /dev/shm is
    ENOSPC here, never a fault later. Blocks for as long as the pages take to fill, no longer.

    If the name exists: if_exists='error' raises FileExistsError; 'open' opens it in mode 'r+' if shape, dtype and order
    agree (else ERR_NDSHM_MISMATCH); 'replace' swaps it atomically: whoever has the old array keeps it, whoever opens
    the name from then on gets the new one, and at no moment is there none. `ephemeral`: the segment belongs to its
    peers, and the last one to close it takes its name away. `init` fills the new array before it has its name: nobody
    sees it half filled; if it raises, nothing is left.
    Errors: EEXIST, ENOSPC, EMFILE, ERR_NDSHM_INVALID_NAME, ERR_NDSHM_SHAPE, ERR_NDSHM_DTYPE, ERR_NDSHM_MISMATCH.

    >>> import ndshm
    >>> with ndshm.create("demo-prices", (1000, 3), ephemeral=True) as prices:
    ...     prices[7, 2] = 42
    ...     prices.shape, float(prices.sum())
    ((1000, 3), 42.0)
    """
    if init is not None and not callable(init):
        raise errors.wrong_kind("a function", "init", init)
    return whole(
        create_segment(
            name,
            dtype,
            shape,
            order,
            ephemeral=ephemeral,
            if_exists=if_exists,
            allow_foreign_owner=allow_foreign_owner,
            init=None if init is None else lambda attachment: init(whole(attachment)),
        )
    )


def from_array(
    name: str,
    array: ArrayLike,
    dtype: DTypeLike | None = None,
    order: str | None = None,
    if_exists: str = "error",
    *,
    ephemeral: bool = False,
    allow_foreign_owner: bool = False,
) -> SharedArray:
    """Creates an array from whatever numpy.asarray() takes, as a copy; complete before it has its name. Returns it in
    mode 'r+'. `order` None keeps Fortran order, and is 'C' otherwise. Blocks while it copies. Errors: as for create().

    >>> import ndshm
    >>> with ndshm.from_array("demo-labels", [[7, 2], [1, 0]], "uint8", ephemeral=True) as labels:
    ...     labels.tolist(), labels.dtype.name
    ([[7, 2], [1, 0]], 'uint8')
    """
    source = np.asarray(array)
    wanted = check_dtype(dtype if dtype is not None else source.dtype.newbyteorder("="))
    if order is None:
        order = "F" if source.flags.fnc else "C"
    check_order(order)
    # The core copies into fresh pages, which it does faster than a store into mapped ones.
    elements = np.asarray(source, dtype=wanted, order=order)  # type: ignore[call-overload]
    return whole(
        create_segment(
            name,
            wanted,
            elements.shape,
            order,
            ephemeral=ephemeral,
            if_exists=if_exists,
            allow_foreign_owner=allow_foreign_owner,
            source=elements,
        )
    )


def anonymous(shape: Shape, dtype: DTypeLike = "float64", order: str = "C") -> SharedArray:
    """Creates an array of zeros without any name. Forked children have it, and so have others to whom multiprocessing
    pickles it; it is gone with the last process that holds it. Errors: as for create().

    >>> import ndshm
    >>> with ndshm.anonymous(1000, "int32") as scratch:
    ...     scratch.name, scratch.nbytes
    (None, 4000)
    """
    return whole(create_segment(None, dtype, shape, order))


def open(name: str, mode: str = "r", allow_foreign_owner: bool = False) -> SharedArray:
    """Opens an array by name: one of ndshm's, from whichever language, or any .npy file that lies in /dev/shm. Maps it,
    whatever its size, without copying or reading it. Does not block.

    `mode`: 'r' read-only, 'r+' shared and writable, 'c' copy-on-write: stores are this array's alone.
    Errors: ENOENT, EACCES, EMFILE, ERR_NDSHM_HEADER, ERR_NDSHM_TRUNCATED, ERR_NDSHM_DTYPE, ERR_NDSHM_FOREIGN_OWNER,
    ERR_NDSHM_CONTROL_VERSION, ERR_NDSHM_CONTROL_CORRUPT, ERR_NDSHM_PEERS_FULL.

    >>> import ndshm
    >>> ndshm.from_array("demo-open", [1.5, 2.5]).close()
    >>> with ndshm.open("demo-open") as prices:
    ...     float(prices[0])
    1.5
    >>> ndshm.unlink("demo-open")
    """
    if not isinstance(name, str):
        raise errors.wrong_kind("a string", "the segment name", name)
    return whole(open_segment(name, mode, allow_foreign_owner))


def open_raw(
    name: str,
    dtype: DTypeLike,
    shape: Shape | None = None,
    byte_offset: int = 0,
    order: str = "C",
    mode: str = "r",
    allow_foreign_owner: bool = False,
) -> SharedArray:
    """Opens raw shared memory that somebody else made, such as multiprocessing's SharedMemory, as an array of the given
    dtype and shape (default: one dimension, all whole elements from byte_offset to the end of the file). Nothing in it
    is interpreted, and no resource tracker is told. In mode 'r+' its pages are reserved first (ENOSPC), since such
    segments are often sparse. Does not block. Errors: as for open(), and ERR_NDSHM_ALIGNMENT.

    >>> import ndshm
    >>> from pathlib import Path
    >>> _ = Path("/dev/shm", "demo-raw").write_bytes(bytes(16 + 240))
    >>> with ndshm.open_raw("demo-raw", "float64", (10, 3), byte_offset=16) as raw:
    ...     raw.shape
    (10, 3)
    >>> ndshm.unlink("demo-raw")
    """
    element = check_dtype(dtype)
    offset = integer_in(byte_offset, 0, 2**53 - 1, "byte_offset")
    checked_order = check_order(order)
    asked = None if shape is None else check_shape(shape)

    def describe(file: OpenedFile) -> NpyHeader:
        rest = max(0, file.facts.size - offset) // element.itemsize
        lengths = (rest,) if asked is None else asked
        return NpyHeader(element, checked_order, lengths, offset, checked_byte_length(lengths, element.itemsize))

    if not isinstance(name, str):
        raise errors.wrong_kind("a string", "the segment name", name)
    return whole(open_segment(name, mode, allow_foreign_owner, describe))
