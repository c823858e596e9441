"""An RWLock, among threads, tasks, and processes in Python and Node."""

from __future__ import annotations

import asyncio
import os

import pytest

import ndshm
from sync_peer import SECONDS, code_of, in_thread, languages, peer_with


@pytest.fixture
def lock(fresh_name):
    made = ndshm.RWLock(fresh_name("lock"), ephemeral=True)
    yield made
    made.close()


def enter(hold):
    with hold:
        return hold.abandoned


def test_readers_are_inside_together_and_a_writer_alone(lock):
    with lock.reader():
        assert in_thread(enter, lock.reader(timeout=SECONDS)).result(SECONDS) is False
        assert code_of(in_thread(enter, lock.writer(timeout=0.02))) == "ERR_NDSHM_TIMEOUT"
    with lock.writer():
        assert code_of(in_thread(enter, lock.reader(timeout=0.02))) == "ERR_NDSHM_TIMEOUT"
        assert code_of(in_thread(enter, lock.writer(timeout=0))) == "ERR_NDSHM_TIMEOUT"
        waiting = in_thread(enter, lock.writer())
    assert waiting.result(SECONDS) is False
    for hold in (lock.reader, lock.writer):
        with lock.writer(), pytest.raises(ndshm.Deadlock):
            enter(hold())


def test_tasks_take_turns(lock):
    log = []

    async def write():
        async with lock.writer():
            log.append("w")
            await asyncio.sleep(0)
            log.append("w")

    async def main():
        async with lock.reader(), lock.reader():
            writers = [asyncio.create_task(write()) for _ in range(3)]
            await asyncio.sleep(0)
            log.append("r")
        await asyncio.wait_for(asyncio.gather(*writers), SECONDS)

    asyncio.run(main())
    assert log == ["r", *"wwwwww"]


@languages
def test_another_process_has_the_same_lock(lock, language):
    with peer_with(language, "RWLock", lock.name) as peer:
        peer.call("read")
        assert enter(lock.reader(timeout=SECONDS)) is False
        assert code_of(in_thread(enter, lock.writer(timeout=0.02))) == "ERR_NDSHM_TIMEOUT"
        peer.call("let_go")
        peer.call("write")
        waiting = in_thread(enter, lock.reader())
        assert code_of(in_thread(enter, lock.writer(timeout=0.02))) == "ERR_NDSHM_TIMEOUT"
        peer.call("let_go")
        assert waiting.result(SECONDS) is False
        with lock.reader():
            peer.call("read", 1)
            peer.call("let_go")
            assert peer.code("write", 0.02) == "ERR_NDSHM_TIMEOUT"
        with lock.writer():
            assert peer.code("read", 0.02) == "ERR_NDSHM_TIMEOUT"


@languages
def test_a_writer_that_is_killed_leaves_it_abandoned_and_a_reader_does_not(lock, language):
    with peer_with(language, "RWLock", lock.name) as peer:
        peer.call("read")
        waiting = in_thread(enter, lock.writer())
        peer.kill()
        assert waiting.result(SECONDS) is False
    with peer_with(language, "RWLock", lock.name) as peer:
        peer.call("write")
    assert code_of(in_thread(enter, lock.reader())) == "ERR_NDSHM_ABANDONED"
    assert code_of(in_thread(enter, lock.writer())) == "ERR_NDSHM_ABANDONED"
    assert enter(lock.reader(on_abandoned="ignore")) is True
    assert enter(lock.writer(on_abandoned="repair")) is True
    assert enter(lock.reader()) is False


def test_a_python_writer_that_is_killed_leaves_it_abandoned_to_node(lock):
    with peer_with("node", "RWLock", lock.name) as node:
        with peer_with("python", "RWLock", lock.name) as python:
            python.call("write")
        assert node.code("read") == "ERR_NDSHM_ABANDONED"
        assert node.call("repair") is True
        assert enter(lock.reader()) is False


def test_a_forked_child_holds_nothing(lock):
    with lock.reader():
        child = os.fork()
        if child == 0:
            fine = not enter(lock.reader(timeout=SECONDS))
            try:
                enter(lock.writer(timeout=0.02))
            except ndshm.Timeout:
                os._exit(0 if fine else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
    assert enter(lock.writer()) is False


def test_a_closed_one_says_so(lock):
    lock.close()
    for hold in (lock.reader, lock.writer):
        with pytest.raises(ndshm.Closed):
            enter(hold())


def test_another_kind_is_refused(lock):
    with pytest.raises(ndshm.Error) as raised:
        ndshm.Mutex(lock.name)
    assert raised.value.code == "ERR_NDSHM_MISMATCH"
    with pytest.raises(ndshm.Error):
        lock.reader(on_abandoned="repair")
