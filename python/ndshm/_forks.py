"""What a forked child does with what it has inherited: it becomes a peer of its own, which holds nothing."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import TypeVar

from . import _at_exit
from ._attachment import attachments
from ._living import living

C = TypeVar("C", bound=Callable[[], object])

# A child needs far less, unless it is stopped; then its parent goes on.
_PATIENCE_MS = 1000

_callbacks: list[Callable[[], object]] = []


def on_fork(callback: C) -> C:
    """Called in each forked child, once the attachments are its own. Can be used as a decorator."""
    _callbacks.append(callback)
    return callback


class _Forking:
    """Until the child is a peer, the parent must not leave: the last peer of an ephemeral segment takes its name away.

    So the parent reads from a pipe whose other end the child closes, by and by or by its death.
    """

    def __init__(self) -> None:
        self.turn = threading.Lock()  # other threads' children would keep our pipe open
        self.pipe: tuple[int, int] | None = None

    def before(self) -> None:
        self.turn.acquire()
        if any(attachment.ephemeral for attachment in living(attachments)):
            self.pipe = os.pipe2(os.O_CLOEXEC)

    def in_parent(self) -> None:
        pipe, self.pipe = self.pipe, None
        try:
            if pipe is not None:
                _await_end(*pipe)
        finally:
            self.turn.release()

    def in_child(self) -> None:
        for attachment in living(attachments):
            attachment.rejoin()
        if self.pipe is not None:
            for end in self.pipe:
                os.close(end)
        self.__init__()  # type: ignore[misc]
        _at_exit.serve_multiprocessing()
        for callback in _callbacks:
            callback()


def _await_end(child: int, parent: int) -> None:
    os.close(parent)
    try:
        poll = select.poll()
        poll.register(child, select.POLLIN)
        poll.poll(_PATIENCE_MS)
    finally:
        os.close(child)


_forking = _Forking()
os.register_at_fork(before=_forking.before, after_in_parent=_forking.in_parent, after_in_child=_forking.in_child)
