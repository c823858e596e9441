"""Making and opening segments, as attachments."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable

import numpy as np

from . import directory, errors
from ._attachment import Attachment
from ._layout import EPHEMERAL, HEADER_BYTES, STATUS_REPLACED
from ._library import Failure, lib
from ._npy import NpyHeader, check_dtype, check_order, check_shape, checked_byte_length, format_header
from ._options import MODES, boolean_option, check_name, one_of
from ._segment_file import OpenedFile, check_extent, check_owner, open_file

PATIENCE = 100
"""How often something is tried again because a name was replaced or removed in the middle of it."""

IF_EXISTS = ("error", "open", "replace")

# Whose name exists, though not as a file that we could open.
_TAKEN = ("EACCES", "EPERM", "ELOOP", "ENODEV", "ENXIO", "EISDIR")

Describe = Callable[[OpenedFile], NpyHeader]


def open_segment(
    name: str | int,
    mode: str = "r",
    allow_foreign_owner: bool = False,
    describe: Describe | None = None,
) -> Attachment:
    """Opens a segment by name, or an anonymous one by descriptor. `describe`: what of a raw file is to be mapped."""
    one_of(mode, MODES, "mode")
    boolean_option(allow_foreign_owner, "allow_foreign_owner")
    known = check_name(name) if isinstance(name, str) else None
    who = known or "anonymous"
    for _ in range(PATIENCE):
        with open_file(name, mode == "r+") as file:
            if known is not None:
                check_owner(known, file.facts, allow_foreign_owner)
            header = file.header(who) if describe is None else describe(file)
            check_extent(who, header, file.facts.size)
            failure = Failure()
            number = MODES.index(mode) + 1
            raw = describe is not None
            extent = (header.data_offset, header.data_bytes)
            if lib.ndshm_segment_attach(file.handle, number, *extent, raw, failure) == 0:
                return Attachment(file.detach(), known, mode, header, raw)
            if failure.status != STATUS_REPLACED:
                errors.raise_failure(failure, known, header.data_bytes)
    raise errors.busy_error(known)


def create_segment(
    name: str | None,
    dtype: object,
    shape: object,
    order: str = "C",
    *,
    ephemeral: bool = False,
    member_of: bytes | None = None,
    sparse: bool = False,
    init: Callable[[Attachment], object] | None = None,
    if_exists: str = "error",
    source: np.ndarray | None = None,
    allow_foreign_owner: bool = False,
) -> Attachment:
    """Makes a segment, complete before it has its name. None as name: an anonymous one.

    `source`: elements to begin with, contiguous in that order; else they are zeros, which `init` may fill.
    """
    header = new_header(dtype, shape, order)
    one_of(if_exists, IF_EXISTS, "if_exists")
    boolean_option(ephemeral, "ephemeral")
    boolean_option(allow_foreign_owner, "allow_foreign_owner")

    def make() -> Attachment:
        return _allocate(name, header, ephemeral, member_of, sparse, init, source)

    if name is None:
        return make()
    check_name(name)
    directory.reap_once()
    for _ in range(PATIENCE):
        # Looked up before the work of filling; the link or rename at the end is what decides.
        if look_up(name, if_exists, member_of, allow_foreign_owner) and if_exists == "open":
            try:
                return _open_existing(name, header, allow_foreign_owner)
            except FileNotFoundError:
                continue
        attachment = make()
        try:
            attachment.publish(name, if_exists == "replace")
        except FileExistsError:
            attachment.close()
            if if_exists != "open":
                raise
        except BaseException:
            attachment.close()
            raise
        else:
            return attachment
    raise errors.busy_error(name)


def new_header(dtype: object, shape: object, order: str) -> NpyHeader:
    checked, lengths = check_dtype(dtype), check_shape(shape)
    return NpyHeader(checked, check_order(order), lengths, HEADER_BYTES, checked_byte_length(lengths, checked.itemsize))


def look_up(name: str, if_exists: str, member_of: bytes | None, allow_foreign_owner: bool) -> bool:
    """Whether the name exists. Errors: EEXIST where it must not."""
    try:
        with open_file(name) as file:
            if if_exists == "error":
                raise exists_error(name)
            check_owner(name, file.facts, allow_foreign_owner)
            # A member's name may be that of somebody else's array, or of another parent's member.
            if member_of is not None and parent_of(file, name) != member_of:
                raise exists_error(name)
    except FileNotFoundError:
        return False
    except FileExistsError:
        raise
    except OSError as failure:
        if if_exists == "error" and getattr(failure, "code", None) in _TAKEN:
            raise exists_error(name) from failure
        raise
    return True


def parent_of(file: OpenedFile, name: str) -> bytes | None:
    """The id of the segment that this one is a member of; None = of none."""
    header = file.header(name)
    check_extent(name, header, file.facts.size)
    control = file.control(header.data_offset, header.data_bytes)
    return bytes(control.member_of) if control is not None and control.is_member else None


def exists_error(name: str) -> OSError:
    return errors.system_error(errno.EEXIST, name, "linkat")


def _open_existing(name: str, wanted: NpyHeader, allow_foreign_owner: bool) -> Attachment:
    attachment = open_segment(name, "r+", allow_foreign_owner)
    same_order = attachment.order == wanted.order or len(wanted.shape) < 2
    if attachment.dtype == wanted.dtype and attachment.shape == wanted.shape and same_order:
        return attachment
    attachment.close()
    raise errors.error(
        "ERR_NDSHM_MISMATCH",
        f"'{name}' exists with dtype {attachment.dtype}, shape {attachment.shape}, order {attachment.order}; "
        f"asked for {wanted.dtype}, {wanted.shape}, {wanted.order}",
    )


def _allocate(
    name: str | None,
    header: NpyHeader,
    ephemeral: bool,
    member_of: bytes | None,
    sparse: bool,
    init: Callable[[Attachment], object] | None,
    source: np.ndarray | None,
) -> Attachment:
    described = format_header(header.dtype, header.order, header.shape)
    flags = EPHEMERAL if ephemeral else 0
    elements = None if source is None else ctypes.c_void_p(source.ctypes.data)
    what = (described, header.data_bytes, flags, elements, name is None, sparse, member_of)
    handle = new_segment(what, name, header.data_bytes)
    attachment = Attachment(handle, None, "r+", header)
    if init is not None:
        try:
            init(attachment)
            if attachment.closed:
                raise errors.Closed("The array was closed by its own init function")
        except BaseException:
            attachment.close()
            raise
    return attachment


def new_segment(what: tuple[object, ...], name: str | None, data_bytes: int) -> int:
    """A complete segment without a name, by the arguments of ndshm_segment_allocate()."""

    def attempt() -> int:
        handle = lib.ndshm_segment_new()
        if handle is None:
            raise MemoryError
        failure = Failure()
        if lib.ndshm_segment_allocate(handle, *what, failure) < 0:
            lib.ndshm_segment_free(handle)
            errors.raise_failure(failure, name, data_bytes)
        return handle

    try:
        return attempt()
    except OSError as failure:
        # What crashes have left may be all that is in the way.
        if failure.errno != errno.ENOSPC or not directory.gc():
            raise
        return attempt()
