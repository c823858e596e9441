from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from ._deadline import Deadline


class TaskLine:
    """The tasks that wait for the same thing: those of one event loop get it in the order of their calls.

    Only the first of them waits for a change, in a thread; the others cost no thread.
    """

    def __init__(self) -> None:
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, deque[asyncio.Future[None]]] = WeakKeyDictionary()

    @asynccontextmanager
    async def in_turn(self, deadline: Deadline) -> AsyncIterator[None]:
        """Inside, the task is the first in line. Raises ERR_NDSHM_TIMEOUT."""
        loop = asyncio.get_running_loop()
        line = self._lines.setdefault(loop, deque())
        turn: asyncio.Future[None] = loop.create_future()
        line.append(turn)
        _call_first(line)
        left = deadline.seconds()
        timer = None if left is None or turn.done() else loop.call_later(left, _expire, turn, deadline)
        try:
            await turn
            yield
        finally:
            if timer is not None:
                timer.cancel()
            line.remove(turn)
            _call_first(line)


def _call_first(line: deque[asyncio.Future[None]]) -> None:
    if line and not line[0].done():
        line[0].set_result(None)


def _expire(turn: asyncio.Future[None], deadline: Deadline) -> None:
    if not turn.done():
        turn.set_exception(deadline.error())
