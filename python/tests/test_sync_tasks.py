"""Tasks that wait for what another process does, while the event loop goes on."""

from __future__ import annotations

import asyncio

import pytest

import ndshm
from sync_peer import SECONDS, SyncPeer, languages, peer_with, waits_in_a_thread


async def once_it_waits(wait, act):
    """What the wait comes to, which `act` ends."""
    task = asyncio.create_task(wait)
    await waits_in_a_thread()
    assert not task.done()
    act()
    return await asyncio.wait_for(task, SECONDS)


@pytest.fixture
def opened(fresh_name):
    """Opens a primitive here and there."""
    both: list[ndshm.Mutex | SyncPeer] = []

    def open_both(language, kind, **options):
        here = getattr(ndshm, kind)(fresh_name("it"), ephemeral=True, **options)
        both.append(here)
        there = peer_with(language, kind, here.name, **options)
        both.append(there)
        return here, there

    yield open_both
    for each in both:
        each.close()


@languages
def test_a_lock(opened, language):
    for kind in ("Mutex", "Condition"):
        here, there = opened(language, kind)
        there.call("acquire_now")
        assert asyncio.run(once_it_waits(here.acquire_async(), lambda there=there: there.call("release")))
        here.release()
        there.call("acquire_now")
        with pytest.raises(ndshm.Abandoned):
            asyncio.run(once_it_waits(here.acquire_async(), there.kill))


@languages
def test_a_semaphore(opened, language):
    here, there = opened(language, "Semaphore", value=1)
    there.call("acquire")
    assert asyncio.run(once_it_waits(here.acquire_async(), lambda: there.call("release", 1)))
    here.release()
    there.call("acquire")
    assert asyncio.run(once_it_waits(here.acquire_async(), there.kill))


@languages
def test_a_condition(opened, language):
    here, there = opened(language, "Condition")

    async def wait():
        async with here:
            return await here.wait_async()

    assert asyncio.run(once_it_waits(wait(), lambda: there.call("notify", 1)))


@languages
def test_an_event_and_a_value(opened, language):
    here, there = opened(language, "Event")
    assert asyncio.run(once_it_waits(here.wait_async(), lambda: there.call("set")))
    here, there = opened(language, "Value", dtype="int32")
    until = here.until_async(lambda found: found == 3)
    assert asyncio.run(once_it_waits(until, lambda: there.call("add", 3))) == 3


@languages
def test_a_barrier(opened, language):
    here, there = opened(language, "Barrier", parties=2)
    assert asyncio.run(once_it_waits(here.wait_async(), lambda: there.call("wait"))) == 0
    here, there = opened(language, "Barrier", parties=3)
    there.ask("wait")
    while here.n_waiting == 0:
        assert there.call("broken") is False
    with pytest.raises(ndshm.BrokenBarrier):
        asyncio.run(once_it_waits(here.wait_async(), there.kill))


@languages
def test_a_queue(opened, language):
    here, there = opened(language, "Queue", max_items=1)
    assert asyncio.run(once_it_waits(here.get_async(), lambda: there.call("put", [1, "a"]))) == [1, "a"]
    here.put("full")
    asyncio.run(once_it_waits(here.put_async("next"), lambda: there.call("get")))
    assert here.get() == "next"
