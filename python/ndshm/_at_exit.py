"""A clean exit closes what belongs to its peers, so that the last process out takes the name away. After any other
death the next gc() does."""

from __future__ import annotations

import atexit
import sys
import weakref
from collections.abc import Callable
from typing import Protocol


class Closable(Protocol):
    def close(self) -> None: ...


_open: dict[int, weakref.ref[Closable]] = {}


def close_at_exit(closable: Closable) -> Callable[[], None]:
    """Closes it when this process ends; returns how to say that this is not needed any more."""
    key = id(closable)

    def forget(_: object = None) -> None:
        _open.pop(key, None)

    _open[key] = weakref.ref(closable, forget)
    return forget


def _close_all() -> None:
    # What was opened while another one was open closes before it.
    for reference in reversed(tuple(_open.values())):
        closable = reference()
        if closable is not None:
            closable.close()


class _Anchor:
    """What multiprocessing's registry refers to, weakly."""


_anchor = _Anchor()


def serve_multiprocessing() -> None:
    """Its children end by os._exit(), which calls nothing but multiprocessing's own finalizers."""
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return

    def finalize_later(_: object) -> None:
        util.Finalize(None, _close_all, exitpriority=-100)

    # A child forgets the finalizers as it begins, and then calls these.
    util.register_after_fork(_anchor, finalize_later)


atexit.register(_close_all)
serve_multiprocessing()
