"""Another process that has a primitive open: in Python, or in Node. Both do the same at the same words."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Callable

import pytest

from node import NODE
from peer import ROOT, Peer

HERE = Path(__file__).resolve().parent
languages = pytest.mark.parametrize("language", ["python", "node"])

SECONDS = 20
"""How long a test waits for what has to happen; far longer than it takes."""

COMMANDS = {
    "python": [sys.executable, str(HERE / "sync_child.py")],
    "node": [NODE, str(HERE / "sync_child.cjs"), str(ROOT)],
}


class SyncPeer(Peer):
    """Calls methods of its primitive; those that wait beside what follows."""

    def __init__(self, language: str) -> None:
        super().__init__(COMMANDS[language], {**os.environ, "PYTHONPATH": str(HERE.parent)})

    def ask(self, method: str, *args: Any) -> Answer:
        """Has the peer call a method."""
        return Answer(self, self.begin(method, args=args))

    def call(self, method: str, *args: Any) -> Any:
        """ask(), and the answer."""
        return self.ask(method, *args).result(SECONDS)

    def code(self, method: str, *args: Any) -> str | None:
        """The code of the error that a call ends with."""
        return code_of(self.ask(method, *args))


class Answer:
    """What a peer has been asked for, as a Future."""

    def __init__(self, peer: SyncPeer, call: int) -> None:
        self._peer = peer
        self._call = call

    def done(self) -> bool:
        return self._peer.has_answered(self._call)

    def result(self, seconds: float) -> Any:
        return self._peer.answer(self._call, seconds)

    def exception(self, seconds: float) -> BaseException | None:
        try:
            self.result(seconds)
        except Exception as failure:
            return failure
        return None


def peer_with(language: str, kind: str, name: str, **options: object) -> SyncPeer:
    """A peer that has opened the primitive of this name."""
    peer = SyncPeer(language)
    try:
        peer.call("make", kind, name, options)
    except BaseException:
        peer.close()
        raise
    return peer


def code_of(future: Future[Any] | Answer) -> str | None:
    """The code of the error that it ends with."""
    failure = future.exception(SECONDS)
    return getattr(failure, "code", repr(failure)) if failure is not None else None


def eventually(condition: Callable[[], object]) -> None:
    """Until what another thread or process is about to do has happened."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "this has never happened"
        time.sleep(0.001)


async def waits_in_a_thread() -> None:
    """Until a task of this event loop waits for what only another thread can tell it."""
    end = time.monotonic() + SECONDS
    while not any(thread.name == "ndshm-wait" for thread in threading.enumerate()):
        assert time.monotonic() < end, "nobody waits"
        await asyncio.sleep(0)


def in_thread(function: Callable[..., Any], *args: Any, **options: Any) -> Future[Any]:
    """Runs it in a thread of its own."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(function(*args, **options))
        except BaseException as failure:
            future.set_exception(failure)

    threading.Thread(target=run, daemon=True).start()
    return future
