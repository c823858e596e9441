"""An Event, among threads, tasks, and processes in Python and Node."""

from __future__ import annotations

import asyncio
import os

import pytest

import ndshm
from sync_peer import SECONDS, code_of, in_thread, languages, peer_with, waits_in_a_thread


@pytest.fixture
def event(fresh_name):
    made = ndshm.Event(fresh_name("event"), ephemeral=True)
    yield made
    made.close()


def test_is_set_until_it_is_cleared(event):
    assert not event.is_set()
    assert event.wait(0.01) is False
    event.set()
    event.set()
    assert event.is_set()
    assert event.wait() is True
    event.clear()
    event.clear()
    assert not event.is_set()
    assert event.wait(timeout=0) is False


def test_wakes_every_thread_even_if_it_is_cleared_at_once(event, fresh_name):
    ready = ndshm.Semaphore(fresh_name("ready"), 0, ephemeral=True)
    look = event._state.words.__getitem__
    seen = look(0)

    def wait():
        ready.release()
        return event.wait(SECONDS)

    waiting = [in_thread(wait) for _ in range(4)]
    for _ in waiting:
        assert ready.acquire(timeout=SECONDS)
    while not all(each.done() for each in waiting):
        event.set()
        event.clear()
    assert [each.result() for each in waiting] == [True] * 4
    assert look(0) > seen
    ready.close()


def test_tasks_wait_and_are_cancelled(event):
    async def main():
        first, second = asyncio.create_task(event.wait_async()), asyncio.create_task(event.wait_async())
        await waits_in_a_thread()
        assert await event.wait_async(timeout=0.01) is False
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        event.set()
        assert await asyncio.wait_for(second, SECONDS) is True
        assert await event.wait_async() is True

    asyncio.run(main())


@languages
def test_another_process_has_the_same_event(event, language):
    with peer_with(language, "Event", event.name) as peer:
        waits_there = peer.ask("wait")
        assert peer.call("is_set") is False
        event.set()
        assert waits_there.result(SECONDS) is True
        assert peer.call("is_set") is True
        peer.call("clear")
        assert not event.is_set()
        assert peer.call("wait", 0.01) is False
        waits_here = in_thread(event.wait)
        peer.call("set")
        assert waits_here.result(SECONDS) is True


@languages
def test_a_killed_process_takes_nothing_with_it(event, language):
    with peer_with(language, "Event", event.name) as peer:
        peer.ask("wait")
        peer.call("is_set")
        waiting = in_thread(event.wait)
    event.set()
    assert waiting.result(SECONDS) is True


def test_a_forked_child_sets_it_for_its_parent(event):
    child = os.fork()
    if child == 0:
        event.set()
        os._exit(0)
    assert event.wait(SECONDS)
    assert os.waitpid(child, 0)[1] == 0


def test_a_closed_one_ends_all_waits(event):
    waiting = in_thread(event.wait)
    event.close()
    assert code_of(waiting) == "ERR_NDSHM_CLOSED"
    for method in (event.set, event.clear, event.is_set, event.wait):
        with pytest.raises(ndshm.Closed):
            method()


def test_another_kind_is_refused(event):
    with pytest.raises(ndshm.Error) as raised:
        ndshm.Mutex(event.name)
    assert raised.value.code == "ERR_NDSHM_MISMATCH"
    for wrong in ("1", -1):
        with pytest.raises(ndshm.Error):
            event.wait(wrong)
