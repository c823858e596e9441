"""Members: segments that belong to another one, their parent (docs/format.md, 'Members')."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._attachment import Attachment
from .._options import check_name
from .._segment_file import open_file
from .._segments import create_segment, parent_of
from ..directory import reap
from ..errors import Error, error

_LABEL = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)


class Membership(NamedTuple):
    name: str
    member_of: bytes
    """The parent's id."""


class MemberData(NamedTuple):
    data: bytes
    member_of: bytes | None
    """The id of its parent; None = it is no member."""


def membership(parent: Attachment, label: str) -> Membership:
    """What a member of `parent` is called."""
    parent.check()
    assert parent.name is not None
    assert parent.id is not None
    if _LABEL.fullmatch(label) is None:
        raise error("ERR_NDSHM_INVALID_NAME", f"Expected two components for a member's label but received {label!r}")
    return Membership(check_name(f"{parent.name}.{label}"), bytes.fromhex(parent.id))


def is_member(name: str, parent_id: bytes) -> bool:
    """Whether the name is that of a member of this very parent: of an earlier one, or anything else, it may be, too."""
    try:
        file = open_file(name)
    except FileNotFoundError:
        return False
    with file:
        try:
            return parent_of(file, name) == parent_id
        except (Error, OSError):
            return False


def read_member(name: str, most_bytes: int) -> MemberData | None:
    """The first bytes of its elements; None if there is none."""
    try:
        file = open_file(name)
    except FileNotFoundError:
        return None
    with file:
        member_of = parent_of(file, name)
        header = file.header(name)
        return MemberData(file.read(min(header.data_bytes, most_bytes), header.data_offset), member_of)


def create_member(
    parent: Attachment,
    label: str,
    dtype: object,
    shape: object,
    order: str = "C",
    *,
    init: Callable[[Attachment], object] | None = None,
    if_exists: str = "error",
    source: np.ndarray | None = None,
) -> Attachment:
    """As create_segment(), but a member of `parent`. What an earlier parent has left under the name goes first."""
    name, member_of = membership(parent, label)
    reap(name)
    return create_segment(name, dtype, shape, order, member_of=member_of, init=init, if_exists=if_exists, source=source)
