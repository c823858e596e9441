"""Several arrays under one name: a safetensors file, which every library that reads such files maps as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType

import numpy as np
import numpy.typing as npt

from . import errors
from ._attachment import Attachment
from ._plain_file import check_naming, open_bytes, publish_file
from ._safetensors import DTYPES, METADATA, NAMES, Place, lay_out, read_header

__all__ = ["SharedTensors", "open_tensors", "put_tensors"]


def put_tensors(
    name: str,
    tensors: Mapping[str, npt.ArrayLike],
    *,
    metadata: Mapping[str, str] | None = None,
    if_exists: str = "error",
    allow_foreign_owner: bool = False,
) -> None:
    """Puts arrays into shared memory under one name, as a safetensors file.

    A copy, in C order, complete before it has its name. Node opens it by ``openTensors()``, other programs by
    ``safetensors.numpy.load_file('/dev/shm/NAME')``. `if_exists`: ``'replace'`` swaps it atomically; who has the old
    one open keeps it. It has no lock, and stays until ``unlink()``. Blocks while it copies.

    Errors: EEXIST, ENOSPC, ERR_NDSHM_INVALID_NAME, ERR_NDSHM_INVALID_ARGUMENT, ERR_NDSHM_FOREIGN_OWNER, ERR_NDSHM_DTYPE
    for an array of a dtype that the format does not know, complex128 among them.

    >>> import ndshm
    >>> ndshm.put_tensors("demo-put-tensors", {"w": [[1.0, 2.0]], "b": [True]}, metadata={"epoch": "3"})
    >>> ndshm.unlink("demo-put-tensors")
    """
    check_naming(name, if_exists, allow_foreign_owner)
    if not isinstance(tensors, Mapping):
        raise errors.wrong_kind("a dict of arrays by their names", "the tensors", tensors)
    if metadata is not None:
        _check_metadata(metadata)
    arrays = [(_check_key(key), _array(key, source)) for key, source in tensors.items()]
    head, offsets, file_bytes = lay_out(arrays, metadata)

    def fill(pages: memoryview) -> None:
        pages[: len(head)] = head
        for (_, array), offset in zip(arrays, offsets):
            into = np.frombuffer(pages, array.dtype, array.size, offset).reshape(array.shape)
            np.copyto(into, array)

    publish_file(name, file_bytes, fill, if_exists, allow_foreign_owner)


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, Mapping):
        raise errors.wrong_kind("a dict of strings", "metadata", metadata)
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise errors.wrong_kind("strings", f"metadata {key!r}", value)
        try:
            (key + value).encode()
        except UnicodeEncodeError:
            raise errors.InvalidValue(f"The metadata {key!r} have half a surrogate pair, which UTF-8 has not") from None


def _check_key(key: object) -> str:
    if not isinstance(key, str):
        raise errors.wrong_kind("a string", "the name of a tensor", key)
    if key == METADATA or any("\ud800" <= character <= "\udfff" for character in key):
        raise errors.InvalidValue(f"A tensor cannot be called {key!r}")
    return key


def _array(key: str, source: npt.ArrayLike) -> np.ndarray:
    array = np.asarray(source)
    if array.dtype not in NAMES:
        raise errors.error(
            "ERR_NDSHM_DTYPE", f"The safetensors format knows no {array.dtype}, which {key!r} has; convert it first"
        )
    return array


def open_tensors(
    name: str, mode: str = "r", *, names: Iterable[str] | None = None, allow_foreign_owner: bool = False
) -> SharedTensors:
    """Opens a safetensors file in /dev/shm, whoever put it there, as arrays by their names.

    They are views on one mapping of the file: nothing is copied. `mode`: ``'r'`` read-only, ``'r+'`` shared and
    writable (what is stored is there for everybody at once; there is no lock), ``'c'`` copy-on-write. `names`: which of
    the tensors; default: all. Does not block.

    Errors: ENOENT, EACCES, ERR_NDSHM_FORMAT, ERR_NDSHM_FOREIGN_OWNER; ERR_NDSHM_DTYPE for a tensor of a dtype that
    numpy does not have (BF16, F8_E4M3 …), which `names` can leave out; ERR_NDSHM_OUT_OF_RANGE if there is none of
    a name.

    >>> import ndshm
    >>> ndshm.put_tensors("demo-open-tensors", {"w": [[1.0, 2.0]], "b": [True]})
    >>> with ndshm.open_tensors("demo-open-tensors") as model:
    ...     model["w"].sum(), sorted(model)
    (np.float64(3.0), ['b', 'w'])
    >>> ndshm.unlink("demo-open-tensors")
    """
    if isinstance(names, str):  # would be taken for its characters
        raise errors.wrong_kind("a list of names", "names", names)
    attachment = open_bytes(name, mode, allow_foreign_owner)
    try:
        return SharedTensors(attachment, None if names is None else list(names))
    except BaseException:
        attachment.close()
        raise


class SharedTensors(Mapping[str, np.ndarray]):
    """An open safetensors file: its arrays by their names, and a context manager that closes it. See open_tensors()."""

    def __init__(self, attachment: Attachment, wanted: list[str] | None) -> None:
        self._attachment: Attachment | None = attachment
        self.name = str(attachment.name)
        self.mode = attachment.mode
        places, metadata = read_header(attachment.memory, self.name)
        self.names = tuple(places)
        """Of all tensors in the file, in the order of their data."""
        self.metadata: Mapping[str, str] = metadata
        """What was given to put_tensors()."""
        keys = self.names if wanted is None else wanted
        self._arrays = {key: self._array_at(key, self._find(key, places), attachment.memory) for key in keys}

    def _find(self, key: str, places: Mapping[str, Place]) -> Place:
        if key not in places:
            known = ", ".join(self.names[:20]) + (", …" if len(self.names) > 20 else "")
            raise errors.InvalidValue(f"'{self.name}' has no tensor {key!r}; it has: {known}")
        return places[key]

    def _array_at(self, key: str, place: Place, memory: memoryview) -> np.ndarray:
        dtype = DTYPES.get(place.dtype)
        if dtype is None:
            raise errors.error(
                "ERR_NDSHM_DTYPE",
                f"'{key}' of '{self.name}' is of dtype {place.dtype}, which has no like here; leave it out by the "
                f"argument names, or look at its bytes: open_raw('{self.name}', 'uint8', byte_offset={place.offset})",
            )
        count = place.byte_length // dtype.itemsize
        return np.frombuffer(memory, dtype, count, place.offset).reshape(place.shape)

    def __getitem__(self, key: str) -> np.ndarray:
        """The array. Errors: KeyError, ERR_NDSHM_CLOSED, ERR_NDSHM_TRUNCATED."""
        if self._attachment is None:
            raise errors.closed_error(f"'{self.name}'")
        self._attachment.check()
        return self._arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}: {array.dtype}{array.shape}" for key, array in self._arrays.items())
        return f"SharedTensors({{{shown}}}, name={self.name!r}, mode={self.mode!r})"

    @property
    def closed(self) -> bool:
        return self._attachment is None

    def close(self) -> None:
        """Lets go of the arrays; the last one that somebody still has keeps the file mapped. May be called again."""
        self._arrays = {}
        if self._attachment is not None:
            self._attachment.close()
        self._attachment = None  # which has the file mapped

    def __enter__(self) -> SharedTensors:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
