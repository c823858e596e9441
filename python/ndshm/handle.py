"""Handles: small JSON-safe descriptions from which any process on the host attaches the same array."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from . import errors
from ._npy import DTYPES, check_order, check_shape
from ._options import check_name, integer_in, one_of
from ._segments import open_segment
from .array import SharedArray, attachment_of, open, open_raw, part, whole


class Descriptor(Protocol):
    """multiprocessing.reduction.DupFd, where it arrives."""

    def detach(self) -> int: ...


def attach(handle: Mapping[str, Any], mode: str = "r", allow_foreign_owner: bool = False) -> SharedArray:
    """Attaches the array that a handle (array.handle, of Python or Node) describes, in any process on the same host. A
    view's handle gives that view. Does not block, copies nothing.

    Errors: ERR_NDSHM_STALE_HANDLE if the name means another segment by now, ENOENT if none, and those of open().

    >>> import json, ndshm
    >>> with ndshm.from_array("demo-attach", [1, 2, 3], ephemeral=True) as prices:
    ...     message = json.dumps(prices[1:].handle)
    ...     with ndshm.attach(json.loads(message)) as tail:
    ...         tail.tolist()
    [2, 3]
    """
    if not isinstance(handle, Mapping) or handle.get("ndshm") != 1:
        raise errors.wrong_kind("a handle (array.handle)", "attach()", handle)
    check_name(handle.get("name"))
    dtype = one_of(handle.get("dtype"), tuple(DTYPES), "the handle's dtype")
    shape = check_shape(handle.get("shape"))
    order = check_order(handle.get("order"), "the handle's order")
    how: dict[str, Any] = {"mode": mode, "allow_foreign_owner": allow_foreign_owner}
    offset = handle.get("rawByteOffset")
    if offset is None:
        array = open(handle["name"], **how)
    else:
        array = open_raw(handle["name"], dtype, shape, integer_in(offset, 0, 2**53 - 1, "the offset"), order, **how)
    attachment = attachment_of(array)
    found = (attachment.id, attachment.dtype.name, attachment.shape, attachment.order)
    if found != (handle.get("id"), dtype, shape, order):
        array.close()
        name = attachment.name
        raise errors.error(
            "ERR_NDSHM_STALE_HANDLE",
            f"'{name}' has been replaced since the handle was made; open('{name}') gives the new array",
        )
    return _view(array, handle.get("view"))


def adopt(descriptor: Descriptor, mode: str, view: Mapping[str, Any] | None) -> SharedArray:
    """An anonymous array that another process has passed on by multiprocessing."""
    number = descriptor.detach()
    try:
        array = whole(open_segment(number, mode))
    finally:
        os.close(number)
    return _view(array, view)


def _view(array: SharedArray, view: Mapping[str, Any] | None) -> SharedArray:
    """The view instead of the array, whose attachment it takes over."""
    if view is None:
        return array
    try:
        return _checked_view(array, view)
    except BaseException:
        array.close()
        raise


def _checked_view(array: SharedArray, view: Mapping[str, Any]) -> SharedArray:
    item = array.itemsize
    try:
        shape = check_shape(view["shape"])
        strides = [integer_in(stride, -(2**53), 2**53, "a stride") for stride in view["strides"]]
        offset = integer_in(view["byteOffset"], 0, max(array.nbytes - 1, 0), "the view's byteOffset")
        if len(strides) != len(shape) or any(place % item != 0 for place in (offset, *strides)):
            raise ValueError
        # A handle comes from anywhere. numpy's own look at the bounds goes wrong where the numbers overflow.
        ends = [(length - 1) * stride for length, stride in zip(shape, strides)]
        first, last = (offset + sum(pick(0, end) for end in ends) for pick in (min, max))
        if 0 not in shape and not 0 <= first <= last <= array.nbytes - item:
            raise ValueError
        return part(attachment_of(array), shape, strides, offset)
    except (KeyError, TypeError, ValueError) as cause:
        raise errors.InvalidArgument(f"The handle's view does not lie within '{array.name}'") from cause
