"""An array of a store that is still being filled."""

from __future__ import annotations

from types import TracebackType
from typing import Callable, Literal, NamedTuple

import numpy as np

from ..codec import Encoded
from ..errors import error
from ._heap import Claim, Heap
from ._reservoir import PAGE_BYTES, pages_for
from .object_ref import ObjectRef


class Elements(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype
    order: Literal["C", "F"]


class Draft:
    """An array of the store that is still being filled. Made by store.create_array().

    Its memory is the object's own, so that sealing it copies nothing. A draft is its process's: a forked child may fill
    the array, too, until it is sealed, but can neither seal nor close it.

    >>> import ndshm
    >>> with ndshm.Store.open("frames", capacity="4MiB") as store:
    ...     with store.create_array((480, 640), "float32") as draft:
    ...         draft.array[:] = 0.5
    ...         ref = draft.seal()
    ...     print(store.get(ref)[479, 639])
    0.5
    """

    def __init__(
        self,
        heap: Heap,
        claim: Claim,
        ref: ObjectRef,
        encoded: Encoded,
        elements: Elements,
        publish: Callable[[Claim, int], ObjectRef],
    ) -> None:
        self.ref = ref
        """May be passed on before the object is sealed: wait() waits for that."""
        assert claim.extent is not None
        self._heap = heap
        self._claim = claim
        self._encoded = encoded
        self._publish = publish
        self._maker = heap.state.me
        self._state = "open"
        self._start = claim.extent.start * PAGE_BYTES
        # Leased as a reader's: while anybody has a view on it, its pages are not used again.
        byte_length = pages_for(encoded.byte_length) * PAGE_BYTES
        self._pages = heap.pages.map(self._start, byte_length, writable=True, leased=True)
        ((offset, _),) = encoded.buffers
        self._array = np.ndarray(elements.shape, elements.dtype, self._pages.memory, offset, order=elements.order)

    @property
    def array(self) -> np.ndarray:
        """The array to fill. What is in it at first is whatever was in this memory before, as numpy.empty.

        Errors: ERR_NDSHM_CLOSED if the draft was sealed or closed.
        """
        self._check_open()
        return self._array

    def seal(self) -> ObjectRef:
        """Makes the object visible, as it is: from now on nobody changes it.

        The array becomes read-only. What is stored all the same, by a view on it that was made before, is seen in this
        process alone. Costs the same for any size. Does not block.
        Errors: ERR_NDSHM_CLOSED if the draft was sealed or closed before, or in a forked child; ERR_NDSHM_TRUNCATED.
        """
        self._check_open()
        if self._maker != self._heap.state.me:
            raise error("ERR_NDSHM_CLOSED", "The draft is that of the process which this one was forked from")
        with self._heap.writing():
            self._pages.check()
            self._pages.seal()
            self._heap.pages.write(self._start, self._encoded.head)
            self._publish(self._claim, self._encoded.byte_length)
        self._finish("sealed")
        return self.ref

    def _check_open(self) -> None:
        if self._state != "open":
            raise error("ERR_NDSHM_CLOSED", f"The draft was {self._state} before")

    def close(self) -> None:
        """Throws the object away, unless it has been sealed. May be called again."""
        if self._state != "open":
            return
        self._finish("closed")
        if not self._heap.closed and self._maker == self._heap.state.me:
            self._heap.abandon(self._claim.row, self._claim.generation)

    def _finish(self, state: str) -> None:
        self._state = state
        self._array.flags.writeable = False
        del self._array, self._pages  # their lives are those of the views from now on

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
