from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import Error
from ._buffers import Buffers
from ._document import read_document
from ._object_format import corrupt, read_layout
from ._specials import Specials

# What else goes wrong is that the bytes are no object.
_TOLD = ("ERR_NDSHM_CORRUPT_OBJECT", "ERR_NDSHM_UNSUPPORTED", "ERR_NDSHM_LIMIT", "ERR_NDSHM_PROTOCOL")


def decode(data: bytes | bytearray | memoryview, instance: Callable[[list], Any] | None = None) -> Any:
    """The value of an object's bytes, which may be anything; what is made of them takes room in proportion to them.

    Arrays and Arrow tables in it are read-only views on the bytes, and keep them; all else is a copy. JavaScript's
    values become:

    - undefined: None. A bigint: an int. A Date: a datetime of UTC; numpy.datetime64 where there is no such datetime.
    - A typed array, a DataView, a SharedArray: a numpy array. A Buffer: bytes. An ArrayBuffer: a bytearray.
    - A Map: a dict. A Set: a set. Where the keys are mutable, or the same in Python: a list of pairs, or of elements.
    - A list with holes: one with None in their place. If that would be mostly holes, or has properties: a dict.
    - An Error: a `RemoteError`. A RegExp: a `RegExp`, as text. `Object(1)`: 1.

    What is in several places is so in Python, and may go in circles. Does not block. `instance` gives the value of a
    special that this format does not have, or None.

    Errors: ERR_NDSHM_CORRUPT_OBJECT; ERR_NDSHM_UNSUPPORTED for an Arrow table without pyarrow.

    >>> import numpy as np
    >>> from ndshm.codec import decode, to_bytes
    >>> decode(to_bytes({"epoch": 3, "weights": np.ones(2)}))
    {'epoch': 3, 'weights': array([1., 1.])}
    """
    view = memoryview(data).cast("B").toreadonly()
    try:
        document, places = read_layout(view)
        return Specials(read_document(document), Buffers(view, places), instance).root()
    except MemoryError:
        raise
    except Exception as cause:
        if isinstance(cause, Error) and cause.code in _TOLD:
            raise
        raise corrupt(str(cause) or type(cause).__name__) from cause
