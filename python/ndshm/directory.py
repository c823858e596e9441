"""What lies in /dev/shm: looking at it, and taking away what crashes have left."""

from __future__ import annotations

import builtins
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import import_module

from . import errors
from ._layout import DIRECTORY, EPHEMERAL, PEER_SLOTS, TEMPORARY_PREFIX
from ._library import Failure, Peer, lib
from ._npy import MAGIC
from ._options import MODES, boolean_option, check_name
from ._segment_file import OpenedFile, check_extent, open_file


@dataclass(frozen=True)
class PeerInfo:
    """One living attachment of a segment."""

    slot: int | None
    """None for peers that may not write; they are counted as one."""
    mode: str
    pid: int | None
    """As the peer itself sees it: in another pid namespace the number means another process."""
    tid: int | None
    attached_at: datetime | None


@dataclass(frozen=True)
class Problem:
    """Why an array cannot be opened."""

    code: str
    message: str


@dataclass(frozen=True)
class SegmentInfo:
    """What is under a name."""

    name: str
    kind: str
    """'array': made by ndshm. 'npy': a plain .npy file. 'table', 'tensors': a file of put_table() or put_tensors().
    'temporary': a replacement on its way to its name, or what a crash on that way has left. 'foreign': anything
    else."""
    file_bytes: int
    """Length of the file."""
    allocated_bytes: int
    """How much memory it occupies."""
    uid: int
    permissions: int
    """As in chmod."""
    modified_at: datetime
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    order: str | None = None
    nbytes: int | None = None
    """Bytes of the elements."""
    created_at: datetime | None = None
    ephemeral: bool = False
    id: str | None = None
    """Random id of the segment; another one after each replacement."""
    peers: tuple[PeerInfo, ...] = ()
    problem: Problem | None = None


def stat(name: str) -> SegmentInfo:
    """What is under this name: kind, dtype, shape, size, owner, living peers. Attaches nothing and disturbs nobody.

    Errors: ENOENT, EACCES, ERR_NDSHM_INVALID_NAME.

    >>> import ndshm
    >>> with ndshm.create("demo-stat", (2, 3), "float32", ephemeral=True):
    ...     info = ndshm.stat("demo-stat")
    >>> info.kind, info.dtype, info.shape, len(info.peers)
    ('array', 'float32', (2, 3), 1)
    """
    return _inspect(check_name(name))


def list(foreign: bool = False) -> builtins.list[SegmentInfo]:
    """All arrays in /dev/shm, by name; with `foreign`, everything. Reaps what crashes have left before it looks.

    >>> import ndshm
    >>> with ndshm.create("demo-list", 3, ephemeral=True):
    ...     "demo-list" in [info.name for info in ndshm.list()]
    True
    """
    boolean_option(foreign, "foreign")
    gc()
    found = []
    for name in _names():
        try:
            info = _inspect(name)
        except OSError:
            continue  # gone since we looked, not a regular file, or not ours to read
        if foreign or info.kind != "foreign":
            found.append(info)
    return found


def unlink(name: str) -> None:
    """Removes the name. Whoever has the array open keeps it; the memory is free when the last one has closed it.

    Errors: ENOENT, EACCES, EPERM.

    >>> import ndshm
    >>> ndshm.create("demo-unlink", 3).close()
    >>> ndshm.unlink("demo-unlink")
    """
    failure = Failure()
    if lib.ndshm_unlink(check_name(name).encode(), failure) < 0:
        errors.raise_failure(failure, name)


def gc() -> builtins.list[str]:
    """Removes what crashes have left: ephemeral segments without a living peer, replacements that never got their name.

    Returns the names removed. Never touches a segment with a living peer, or one that is not ephemeral.

    >>> import ndshm
    >>> "demo-gc" in ndshm.gc()
    False
    """
    return [name for name in _names() if reap(name)]


BeforeReaping = Callable[[str], "Callable[[], object] | None"]
_lookers: builtins.list[BeforeReaping] = []


def before_reaping(look: BeforeReaping) -> None:
    """For what a segment has outside of shared memory: `look` is asked first; what it returns runs if it was reaped."""
    _lookers.append(look)


def reap(name: str) -> bool:
    """Removes one of the names that gc() removes; whether it was one."""
    if name.endswith(".spill.0"):
        import_module(".store", __package__)  # knows what lies on disk beside it
    after = [look(name) for look in _lookers]
    if lib.ndshm_reap(name.encode(), Failure()) != 1:
        return False
    for each in after:
        if each is not None:
            each()
    return True


def reap_members(name: str) -> None:
    """Removes what belonged to a segment, if that is gone and nobody has it open."""
    for member in _names():
        if member.startswith(f"{name}."):
            reap(member)


_reaped = False


def reap_once() -> None:
    """gc(), the first time that this process makes something."""
    global _reaped
    if _reaped:
        return
    _reaped = True
    gc()


def _names() -> builtins.list[str]:
    # Regular files only: opening a FIFO, even to look at it, wakes whoever waits at its other end.
    with os.scandir(DIRECTORY) as entries:
        return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False) and _is_text(entry.name))


def _is_text(name: str) -> bool:
    """Whether it is UTF-8: anybody may put any bytes there, and what are none of ours are not to stop us."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _inspect(name: str) -> SegmentInfo:
    with open_file(name) as file:
        facts = file.facts
        described = _describe(file, name)
        if name.startswith(TEMPORARY_PREFIX):
            described["kind"] = "temporary"
        return SegmentInfo(
            name=name,
            file_bytes=facts.size,
            allocated_bytes=facts.allocated_bytes,
            uid=facts.owner,
            permissions=facts.permissions,
            modified_at=_time(facts.modified_at_ns),
            **described,
        )


def _describe(file: OpenedFile, name: str) -> dict:
    if not file.start.startswith(MAGIC):
        return {"kind": _kind_of_other(file)}
    described: dict = {"kind": "npy"}
    try:
        header = file.header(name)
        described.update(dtype=header.dtype.name, shape=header.shape, order=header.order, nbytes=header.data_bytes)
        check_extent(name, header, file.facts.size)
        extent = (header.data_offset, header.data_bytes)
        control = file.control(*extent)
        if control is not None:
            described.update(
                kind="array",
                created_at=_time(control.created_at_ns),
                ephemeral=bool(control.flags & EPHEMERAL),
                id=bytes(control.segment_id).hex(),
                peers=_peers(file, *extent),
            )
    except errors.Error as error:
        described["problem"] = Problem(error.code, str(error))
    return described


def _kind_of_other(file: OpenedFile) -> str:
    """By the first bytes of an Arrow IPC file, or of a safetensors file: the length of its JSON header, and that."""
    start = file.start
    if start.startswith(b"ARROW1\0\0"):
        return "table"
    if len(start) > 8 and start[8:9] == b"{":
        (length,) = struct.unpack_from("<Q", start)
        if 2 <= length <= 100_000_000 and 8 + length <= file.facts.size:
            return "tensors"
    return "foreign"


def _peers(file: OpenedFile, data_offset: int, data_bytes: int) -> tuple[PeerInfo, ...]:
    rows, failure = (Peer * (PEER_SLOTS + 1))(), Failure()
    count = lib.ndshm_segment_peers(file.handle, data_offset, data_bytes, rows, failure)
    if count < 0:
        errors.raise_failure(failure, file.name)
    return tuple(
        PeerInfo(
            slot=row.slot if row.slot < PEER_SLOTS else None,
            mode=MODES[row.mode - 1] if 1 <= row.mode <= len(MODES) else "r",
            pid=row.pid or None,
            tid=row.tid or None,
            attached_at=_time(row.attached_at_ns) if row.attached_at_ns else None,
        )
        for row in rows[:count]
    )


def _time(nanoseconds: int) -> datetime:
    # A hostile clock may be beyond what a datetime can say.
    return datetime.fromtimestamp(min(nanoseconds, 2**62) / 1e9, timezone.utc)
