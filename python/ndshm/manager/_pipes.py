"""Large SharedArrays, which come in pieces beside the value that they are in: lib/manager/array-copy.ts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..codec._dtypes import KNOWN
from ..codec._object_format import corrupt
from ..errors import error
from ._frames import broken
from ._limits import MAX_ARRAY_BYTES, MAX_BUFFERED_BYTES, MAX_CALLS

_DTYPES = frozenset(KNOWN.split(", "))
_MAX_DIMENSIONS = 32

# Is told of the end: of what went wrong, or None.
Then = Callable[["Exception | None"], None]


class _Pipe:
    def __init__(self) -> None:
        # What has come before anybody said of which array.
        self.early: list[bytearray] = []
        self.room: memoryview | None = None
        self.filled = 0
        self.is_over = False
        self.failure: Exception | None = None
        self.then: Then = lambda _failure: None


class Pipes:
    """All that come by one connection. For its thread alone."""

    def __init__(self) -> None:
        self._open: dict[int, _Pipe] = {}
        self._early_bytes = 0
        self._arriving_bytes = 0

    def open(self, number: int) -> None:
        if len(self._open) >= MAX_CALLS:
            raise error("ERR_NDSHM_LIMIT", f"More than {MAX_CALLS} streams at once on one connection")
        self._open[number] = _Pipe()

    def write(self, number: int, chunk: bytearray) -> None:
        """Errors: ERR_NDSHM_PROTOCOL, ERR_NDSHM_LIMIT."""
        pipe = self._find(number)
        if pipe.is_over:
            return
        if pipe.room is not None:
            self._fill(pipe, chunk)
            return
        self._early_bytes += len(chunk)
        if self._early_bytes > MAX_BUFFERED_BYTES:
            raise error("ERR_NDSHM_LIMIT", "Too many bytes in streams that are not read")
        pipe.early.append(chunk)

    def end(self, number: int, failure: Exception | None = None) -> None:
        """The other side has said all, or `failure`."""
        self._over(self._find(number), failure)

    def release(self, number: int) -> None:
        """The other side says nothing more of it."""
        pipe = self._open.pop(number, None)
        if pipe is not None:
            self._over(pipe, corrupt("its array is too short"))
            if pipe.room is None:
                self._early_bytes -= sum(map(len, pipe.early))

    def receive(self, number: int, dtype: Any, shape: Any, then: Then) -> np.ndarray:
        """The array, which is complete once `then` has been told so.

        Errors: ERR_NDSHM_PROTOCOL, ERR_NDSHM_CORRUPT_OBJECT, ERR_NDSHM_LIMIT.
        """
        pipe = self._find(number)
        if pipe.room is not None or dtype not in _DTYPES or not _is_shape(shape):
            raise corrupt("it has an array without a stream of its own")
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        if nbytes > MAX_ARRAY_BYTES - self._arriving_bytes:
            raise error(
                "ERR_NDSHM_LIMIT", f"An array of {nbytes} bytes was sent; at most {MAX_ARRAY_BYTES} are taken now"
            )
        array = np.empty(shape, dtype)
        self._arriving_bytes += nbytes

        def over(failure: Exception | None) -> None:
            self._arriving_bytes -= nbytes
            then(failure)

        pipe.room = memoryview(array.reshape(-1).view(np.uint8))
        pipe.then = over
        early, pipe.early = pipe.early, []
        for chunk in early:
            self._early_bytes -= len(chunk)
            self._fill(pipe, chunk)
        if pipe.is_over:
            self._tell(pipe)
        return array

    def _find(self, number: int) -> _Pipe:
        pipe = self._open.get(number)
        if pipe is None:
            raise broken("a stream that it has not begun")
        return pipe

    def _fill(self, pipe: _Pipe, chunk: bytearray) -> None:
        assert pipe.room is not None
        end = pipe.filled + len(chunk)
        if end > len(pipe.room):
            raise broken("more of an array than it has")
        pipe.room[pipe.filled : end] = chunk
        pipe.filled = end

    def _over(self, pipe: _Pipe, failure: Exception | None) -> None:
        if pipe.is_over:
            return
        pipe.is_over = True
        pipe.failure = failure
        if pipe.room is not None:
            self._tell(pipe)

    def _tell(self, pipe: _Pipe) -> None:
        assert pipe.room is not None
        is_short = pipe.failure is None and pipe.filled < len(pipe.room)
        pipe.then(corrupt("its array is too short") if is_short else pipe.failure)


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) <= _MAX_DIMENSIONS
        and all(type(length) is int and length >= 0 for length in shape)
    )
