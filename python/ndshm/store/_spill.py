"""Objects that were put on disk: a folder for each store, a file for each object (docs/object-store.md, 'On disk')."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from typing import Callable

import numpy as np

from .._attachment import Attachment
from .._layout import DIRECTORY
from .._npy import NpyHeader
from .._segments import open_segment
from ..directory import before_reaping, stat
from ..errors import Error, error
from ._member import create_member, membership, read_member

# The folder's name says which store of which /dev/shm of which boot, so that whoever comes later knows whether it is
# still anybody's.
_FOLDER = re.compile(r"ndshm-[0-9a-f]{8}-[0-9a-f]+-([0-9a-f]{32})-(.+)", re.ASCII)
_FILE = re.compile(r"\d+\.\d+(\.[0-9a-f]{16})?", re.ASCII)
_LABEL = "spill.0"
_SLICE_BYTES = 2**23
_LONGEST_PATH = 4096


def _folder_name(store_id: str, name: str) -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read(8)
    return f"ndshm-{boot}-{os.stat(DIRECTORY).st_dev:x}-{store_id}-{name}"


class SpillFolder:
    """Where a store puts the objects that do not fit into memory."""

    def __init__(self, path: str) -> None:
        self.path = path

    @classmethod
    def of(cls, parent: Attachment) -> SpillFolder | None:
        """The store's folder, as whoever made the store said; None = it has none."""
        name, store_id = membership(parent, _LABEL)
        note = read_member(name, _LONGEST_PATH)
        # What an earlier store of the name has left is not this one's.
        if note is None or note.member_of != store_id:
            return None
        if b"\0" in note.data:
            raise error("ERR_NDSHM_CONTROL_CORRUPT", f"'{name}' has been overwritten; make the store anew")
        return cls(os.fsdecode(note.data))

    @classmethod
    def make(cls, parent: Attachment, directory: str) -> SpillFolder:
        """Makes the store's folder in `directory`, and removes what stores that have ended left there."""
        _, store_id = membership(parent, _LABEL)
        _remove_orphans(directory)
        path = os.path.join(directory, _folder_name(store_id.hex(), str(parent.name)))
        os.makedirs(path, mode=0o700, exist_ok=True)
        data = os.fsencode(path)
        # A member, so that gc() finds the folder when the store has died.
        create_member(
            parent, _LABEL, "uint8", (len(data),), source=np.frombuffer(data, np.uint8), if_exists="replace"
        ).close()
        return cls(path)

    def _file(self, number: int, generation: int) -> str:
        return os.path.join(self.path, f"{number}.{generation}")

    def write(self, number: int, generation: int, data: memoryview) -> str:
        """Writes to a file that nobody looks for, until keep(); returns its path."""
        path = f"{self._file(number, generation)}.{secrets.token_hex(8)}"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            at = 0
            while at < len(data):
                at += os.write(descriptor, data[at : at + _SLICE_BYTES])
        except BaseException:
            remove_file(path)
            raise
        finally:
            os.close(descriptor)
        return path

    def keep(self, path: str, number: int, generation: int) -> None:
        os.rename(path, self._file(number, generation))

    def map(self, number: int, generation: int, byte_length: int) -> Attachment:
        """The object, mapped from disk: read when it is looked at."""
        descriptor = os.open(self._file(number, generation), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            header = NpyHeader(np.dtype(np.uint8), "C", (byte_length,), 0, byte_length)
            return open_segment(descriptor, allow_foreign_owner=True, describe=lambda _: header)
        finally:
            os.close(descriptor)

    def remove(self, number: int, generation: int) -> None:
        remove_file(self._file(number, generation))


def remove_file(path: str) -> None:
    """What cannot be removed goes with the folder."""
    # Gone already, or the folder is not what it was: nothing that concerns the store's objects.
    with suppress(OSError):
        os.unlink(path)


def _remove_folder(path: str) -> None:
    """Only what is named as a store's folder, and in it only what is named as its files: the path may say anything."""
    if _FOLDER.fullmatch(os.path.basename(path)) is None:
        return
    with suppress(OSError, ValueError):
        for file in os.listdir(path):
            if _FILE.fullmatch(file):
                os.unlink(os.path.join(path, file))
        os.rmdir(path)


def _remove_orphans(directory: str) -> None:
    os.makedirs(directory, exist_ok=True)
    for folder in os.listdir(directory):
        found = _FOLDER.fullmatch(folder)
        if found is None or folder != _folder_name(found[1], found[2]):
            continue
        if _id_of(found[2]) != found[1]:
            _remove_folder(os.path.join(directory, folder))


def _id_of(name: str) -> str | None:
    try:
        return stat(name).id
    except (Error, OSError):
        return None


def _before_reaping(name: str) -> Callable[[], None] | None:
    """A store's folder goes with the member that names it."""
    if not name.endswith(f".{_LABEL}"):
        return None
    try:
        note = read_member(name, _LONGEST_PATH)
    except (Error, OSError):
        return None  # not a member of ours after all
    return None if note is None else lambda: _remove_folder(os.fsdecode(note.data))


before_reaping(_before_reaping)


def spill_error(cause: OSError, path: str) -> Error:
    return error("ERR_NDSHM_CAPACITY", f"The store is full, and cannot spill to '{path}': {cause}")
