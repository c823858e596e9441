"""A Barrier, among threads, tasks, and processes in Python and Node."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

import ndshm
from ndshm.sync import BarrierTimeout
from sync_peer import SECONDS, code_of, eventually, in_thread, languages, peer_with, waits_in_a_thread

BROKEN = "ERR_NDSHM_BROKEN_BARRIER"


def barrier_of(name, parties, *args):
    return ndshm.Barrier(name, parties, *args, ephemeral=True)


@pytest.fixture
def pair(fresh_name):
    made = barrier_of(fresh_name("barrier"), 2)
    yield made
    made.close()


def arrived(barrier, count):
    eventually(lambda: barrier.n_waiting == count)


def test_threads_go_on_together_round_after_round(fresh_name):
    barrier = barrier_of(fresh_name("barrier"), 3)
    assert [barrier.parties, barrier.n_waiting, barrier.broken] == [3, 0, False]
    rounds = 30
    places = [[] for _ in range(rounds)]
    counts = []

    def party():
        for each in places:
            each.append(barrier.wait(SECONDS))
            counts.append(len(counts))

    for each in [in_thread(party) for _ in range(3)]:
        each.result(3 * SECONDS)
    assert [sorted(each) for each in places] == [[0, 1, 2]] * rounds
    barrier.close()


def test_one_party_need_not_wait(fresh_name):
    barrier = barrier_of(fresh_name("barrier"), 1)
    assert [barrier.wait(), barrier.wait(0)] == [0, 0]
    barrier.close()


def test_who_gives_up_breaks_it_for_the_others_until_it_is_reset(fresh_name):
    barrier = barrier_of(fresh_name("barrier"), 3)
    waiting = in_thread(barrier.wait)
    arrived(barrier, 1)
    with pytest.raises(BarrierTimeout) as raised:
        barrier.wait(0.02)
    assert isinstance(raised.value, (TimeoutError, threading.BrokenBarrierError))
    assert raised.value.code == "ERR_NDSHM_TIMEOUT"
    assert code_of(waiting) == BROKEN
    assert barrier.broken
    assert barrier.n_waiting == 0
    with pytest.raises(threading.BrokenBarrierError) as raised:
        barrier.wait()
    assert raised.value.code == BROKEN
    barrier.reset()
    assert not barrier.broken
    waiting = [in_thread(barrier.wait) for _ in range(3)]
    assert sorted(each.result(SECONDS) for each in waiting) == [0, 1, 2]
    barrier.close()


def test_the_timeout_of_the_constructor_is_that_of_wait(fresh_name):
    barrier = barrier_of(fresh_name("barrier"), 2, None, 0.02)
    with pytest.raises(BarrierTimeout):
        barrier.wait()
    barrier.close()


def test_abort_and_reset_let_go_whoever_waits(pair):
    for let_go, broken in ((pair.abort, True), (pair.reset, False)):
        waiting = in_thread(pair.wait)
        arrived(pair, 1)
        let_go()
        assert code_of(waiting) == BROKEN
        assert pair.broken is broken
        pair.reset()


def test_the_last_to_arrive_acts_before_anybody_goes_on(fresh_name):
    log = []
    barrier = barrier_of(fresh_name("barrier"), 2, lambda: log.append("acts"))

    def party():
        barrier.wait(SECONDS)
        log.append("goes")

    for each in [in_thread(party) for _ in range(2)]:
        each.result(SECONDS)
    assert log == ["acts", "goes", "goes"]
    barrier.close()


def test_an_action_that_fails_breaks_it(fresh_name):
    barrier = barrier_of(fresh_name("barrier"), 2, lambda: 1 / 0)
    waiting = in_thread(barrier.wait)
    arrived(barrier, 1)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert code_of(waiting) == BROKEN
    barrier.reset()

    async def acts():
        await asyncio.sleep(0)

    barrier._action = acts
    waiting = in_thread(barrier.wait)
    arrived(barrier, 1)
    with pytest.raises(ndshm.InvalidArgument):
        barrier.wait()
    assert code_of(waiting) == BROKEN
    barrier.close()


def test_tasks_meet_and_the_last_ones_action_is_awaited(fresh_name):
    log = []

    async def act():
        await asyncio.sleep(0)
        log.append("acts")

    barrier = barrier_of(fresh_name("barrier"), 3, act)

    async def party():
        place = await barrier.wait_async(SECONDS)
        log.append("goes")
        return place

    async def main():
        return await asyncio.wait_for(asyncio.gather(*(party() for _ in range(3))), SECONDS)

    assert sorted(asyncio.run(main())) == [0, 1, 2]
    assert log == ["acts", "goes", "goes", "goes"]
    barrier.close()


def test_a_cancelled_task_breaks_it(pair):
    async def main():
        task = asyncio.create_task(pair.wait_async())
        while pair.n_waiting == 0:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), SECONDS))
    assert pair.broken
    pair.reset()
    assert pair.n_waiting == 0


def test_a_task_that_is_cancelled_before_it_has_arrived_does_not_arrive(fresh_name):
    acted = []
    barrier = barrier_of(fresh_name("barrier"), 1, lambda: acted.append(1))
    # As if it had been reset while somebody was inside, who leaves when the task is cancelled.
    barrier._arrived.set_mine(1, barrier._round)
    barrier.reset()

    async def main():
        task = asyncio.create_task(barrier.wait_async())
        await waits_in_a_thread()
        barrier._arrived.set_mine(0, barrier._round)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), SECONDS))
    assert acted == []
    assert barrier.wait(SECONDS) == 0
    assert acted == [1]
    barrier.close()


@languages
def test_another_process_meets_at_the_same_barrier(pair, language):
    with peer_with(language, "Barrier", pair.name, parties=2) as peer:
        for _ in range(5):
            there = peer.ask("wait")
            assert sorted([pair.wait(SECONDS), there.result(SECONDS)]) == [0, 1]
        there = peer.ask("wait")
        arrived(pair, 1)
        pair.abort()
        assert code_of(there) == BROKEN
        assert peer.call("broken") is True
        peer.call("reset")
        here = in_thread(pair.wait)
        eventually(lambda: peer.call("n_waiting") == 1)
        assert peer.code("wait", 0) is None
        assert here.result(SECONDS) == 0
        here = in_thread(pair.wait)
        arrived(pair, 1)
        peer.call("abort")
        assert code_of(here) == BROKEN


@languages
def test_a_process_that_has_arrived_and_is_killed_breaks_it(fresh_name, language):
    barrier = barrier_of(fresh_name("barrier"), 3)
    with peer_with(language, "Barrier", barrier.name, parties=3) as peer:
        peer.ask("wait")
        arrived(barrier, 1)
        here = in_thread(barrier.wait)
        arrived(barrier, 2)
    assert code_of(here) == BROKEN
    barrier.reset()
    assert [barrier.broken, barrier.n_waiting] == [False, 0]
    barrier.close()


def test_a_killed_python_process_breaks_it_for_node(fresh_name):
    name = fresh_name("barrier")
    with peer_with("node", "Barrier", name, parties=3) as node:
        with peer_with("python", "Barrier", name, parties=3) as python:
            python.ask("wait")
            eventually(lambda: node.call("n_waiting") == 1)
            there = node.ask("wait")
            eventually(lambda: node.call("n_waiting") == 2)
        assert code_of(there) == BROKEN


def test_a_forked_child_has_not_arrived(pair):
    waiting = in_thread(pair.wait)
    arrived(pair, 1)
    child = os.fork()
    if child == 0:
        fine = pair.n_waiting == 1 and pair.wait(SECONDS) == 1
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert waiting.result(SECONDS) == 0


def test_a_closed_one_has_not_arrived_and_ends_all_waits(fresh_name):
    name = fresh_name("barrier")
    barrier, other = barrier_of(name, 2), barrier_of(name, 2)
    waiting = in_thread(barrier.wait)
    arrived(other, 1)
    barrier.close()
    assert code_of(waiting) == "ERR_NDSHM_CLOSED"
    assert other.n_waiting == 0
    for method in (barrier.wait, barrier.abort, barrier.reset, lambda: barrier.broken, lambda: barrier.n_waiting):
        with pytest.raises(ndshm.Closed):
            method()
    other.close()


def test_other_parties_or_another_kind_are_refused(pair, fresh_name):
    for kind in (lambda: barrier_of(pair.name, 3), lambda: ndshm.Event(pair.name)):
        with pytest.raises(ndshm.Error) as raised:
            kind()
        assert raised.value.code == "ERR_NDSHM_MISMATCH"
    for wrong in (0, -1, 2**31, "2"):
        with pytest.raises(ndshm.Error):
            barrier_of(fresh_name("wrong"), wrong)
    with pytest.raises(ndshm.InvalidArgument):
        barrier_of(fresh_name("wrong"), 1, "act")
