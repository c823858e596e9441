"""Arrays from and to .npy files on disk."""

from __future__ import annotations

import builtins
import os
from pathlib import Path

import numpy as np

from . import errors
from ._npy import MAX_HEADER_BYTES, parse_header
from .array import SharedArray, create, open


def load(
    name: str,
    path: str | os.PathLike[str],
    if_exists: str = "error",
    *,
    ephemeral: bool = False,
    allow_foreign_owner: bool = False,
) -> SharedArray:
    """Creates an array from an .npy file on disk; complete before it has its name. Returns it in mode 'r+'. Blocks
    while it reads. Errors: the file system's, ERR_NDSHM_HEADER, ERR_NDSHM_TRUNCATED, and those of create().

    >>> import ndshm, tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "digits.npy"), [3, 1, 4])
    ...     with ndshm.load("demo-digits", Path(folder, "digits.npy"), ephemeral=True) as digits:
    ...         digits.tolist()
    [3, 1, 4]
    """
    with builtins.open(path, "rb") as file:
        header = parse_header(file.read(MAX_HEADER_BYTES + 12), str(path))
        end = header.data_offset + header.data_bytes
        size = os.fstat(file.fileno()).st_size
        if end > size:
            raise errors.error(
                "ERR_NDSHM_TRUNCATED", f"{path} is {size} bytes long, but its elements would reach to byte {end}"
            )

        def fill(array: SharedArray) -> None:
            into = memoryview(array.reshape(-1, order=header.order).view(np.uint8))
            file.seek(header.data_offset)
            done = 0
            while done < header.data_bytes:
                count = file.readinto(into[done:])
                if not count:
                    raise errors.error("ERR_NDSHM_TRUNCATED", f"{path} became shorter while it was read")
                done += count

        return create(
            name,
            header.shape,
            header.dtype,
            header.order,
            if_exists,
            ephemeral=ephemeral,
            allow_foreign_owner=allow_foreign_owner,
            init=fill,
        )


def save(source: str | np.ndarray, path: str | os.PathLike[str]) -> None:
    """Writes an array, given by name or as it is, to an .npy file on disk. Written beside the target and renamed over
    it: the file is never half there. Blocks while it writes. Errors: the file system's, and those of open().

    >>> import ndshm, tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder, ndshm.from_array("demo-save", [3, 1, 4], ephemeral=True):
    ...     ndshm.save("demo-save", Path(folder, "digits.npy"))
    ...     np.load(Path(folder, "digits.npy")).tolist()
    [3, 1, 4]
    """
    if isinstance(source, str):
        with open(source) as array:
            save(array, path)
        return
    if not isinstance(source, np.ndarray):
        raise errors.wrong_kind("a name or an array", "save()", source)
    temporary = Path(f"{os.fspath(path)}.{os.getpid()}.tmp")
    with builtins.open(temporary, "xb") as file:
        try:
            np.lib.format.write_array(file, np.asarray(source), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:
            temporary.unlink()
            raise
