"""A Condition, among threads, tasks, and processes in Python and Node."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

import ndshm
from sync_peer import SECONDS, code_of, eventually, in_thread, languages, peer_with


@pytest.fixture
def condition(fresh_name):
    made = ndshm.Condition(fresh_name("condition"), ephemeral=True)
    yield made
    made.close()


def waiting(condition):
    """How many wait for it, in all processes."""
    return len(condition._waiters._waiting())


def wait(condition, timeout=SECONDS):
    with condition:
        return condition.wait(timeout)


def notify(condition, n=1):
    with condition:
        condition.notify(n)


def test_is_a_lock(condition):
    assert condition.acquire()
    assert condition.locked()
    assert in_thread(condition.acquire, blocking=False).result(SECONDS) is False
    assert in_thread(condition.acquire, timeout=0.02).result(SECONDS) is False
    got = in_thread(lambda: condition.acquire() and condition.release())
    condition.release()
    got.result(SECONDS)
    with pytest.raises(ZeroDivisionError), condition:
        raise ZeroDivisionError
    assert not condition.locked()


def test_what_needs_the_lock_says_so(condition):
    for method in (condition.wait, condition.notify, condition.notify_all, condition.release):
        assert code_of(in_thread(method)) == "ERR_NDSHM_NOT_OWNED"
    with condition:
        for method in (condition.wait, condition.notify, condition.notify_all, condition.release):
            assert code_of(in_thread(method)) == "ERR_NDSHM_NOT_OWNED"
        with pytest.raises(ndshm.Error):
            condition.notify(-1)
        with pytest.raises(ndshm.InvalidArgument):
            condition.wait_for(1)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_notify_wakes_so_many_the_longest_waiting_first(condition, n):
    log = []
    threads = []
    for number in range(3):
        threads.append(in_thread(lambda number=number: wait(condition) and log.append(number)))
        eventually(lambda number=number: waiting(condition) == number + 1)
    notify(condition, n)
    for each in threads[:n]:
        each.result(SECONDS)
    assert sorted(log) == list(range(n))
    # Nobody else was woken: those who are left take exactly the notifications that come now.
    for each in threads[n:]:
        notify(condition)
        each.result(SECONDS)
    assert sorted(log) == [0, 1, 2]
    assert log[n:] == list(range(n, 3))


def test_a_notification_is_for_those_who_wait_now(condition):
    threads = [in_thread(wait, condition) for _ in range(3)]
    eventually(lambda: waiting(condition) == 3)
    with condition:
        condition.notify_all()
    assert [each.result(SECONDS) for each in threads] == [True] * 3
    notify(condition, 5)
    assert wait(condition, 0.02) is False
    assert waiting(condition) == 0


def test_wait_for_looks_until_it_is_true(condition):
    items = []

    def consume():
        with condition:
            return condition.wait_for(lambda: items and items[0], timeout=SECONDS)

    got = in_thread(consume)
    eventually(lambda: waiting(condition) == 1)
    notify(condition)
    with condition:
        items.append("item")
        condition.notify()
    assert got.result(SECONDS) == "item"
    with condition:
        assert condition.wait_for(lambda: 0, timeout=0.02) == 0
        assert condition.wait_for(lambda: 7, timeout=0) == 7
        assert condition.locked()


def test_threads_of_a_ring_hand_on_what_they_wait_for(condition):
    turns, threads, rounds = [], 4, 25

    def work(number):
        def my_turn():
            return len(turns) % threads == number

        for _ in range(rounds):
            with condition:
                assert condition.wait_for(my_turn, timeout=SECONDS)
                turns.append(number)
                condition.notify_all()

    for each in [in_thread(work, number) for number in range(threads)]:
        each.result(3 * SECONDS)
    assert turns == list(range(threads)) * rounds


def test_tasks_wait_and_hold_it_again_when_cancelled(condition):
    async def main():
        held = []

        async def task():
            async with condition:
                try:
                    return await condition.wait_async()
                finally:
                    held.append(condition.locked())

        first, second = asyncio.create_task(task()), asyncio.create_task(task())
        while waiting(condition) < 2:
            await asyncio.sleep(0)
        async with condition:
            assert await condition.wait_async(timeout=0.01) is False
            # Notified and cancelled before it has the lock: the notification is for the next one.
            condition.notify()
            first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second is True
        assert held == [True, True]
        async with condition:
            assert await condition.wait_for_async(lambda: 5) == 5
            assert await condition.wait_for_async(lambda: 0, timeout=0.01) == 0
        assert waiting(condition) == 0

    asyncio.run(asyncio.wait_for(main(), SECONDS))
    assert not condition.locked()


def test_an_interrupted_wait_holds_the_lock_and_waits_no_more(condition):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    main = threading.main_thread().ident

    def send():
        eventually(lambda: waiting(condition) == 1)
        signal.pthread_kill(main, signal.SIGUSR1)

    try:
        sender = in_thread(send)
        with condition, pytest.raises(KeyboardInterrupt):
            try:
                condition.wait(SECONDS)
            finally:
                assert condition.locked()
        sender.result(SECONDS)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert waiting(condition) == 0
    assert not condition.locked()


@languages
def test_another_process_waits_and_notifies(condition, language):
    with peer_with(language, "Condition", condition.name) as peer:
        there = peer.ask("wait")
        eventually(lambda: waiting(condition) == 1)
        here = in_thread(wait, condition)
        eventually(lambda: waiting(condition) == 2)
        notify(condition)
        assert there.result(SECONDS) is True
        assert not here.done()
        peer.call("notify", 1)
        assert here.result(SECONDS) is True
        assert peer.call("wait", 0.02) is False
        assert waiting(condition) == 0
        with condition:
            assert peer.call("acquire_now") is False


@languages
def test_a_waiter_that_is_killed_takes_no_notification(condition, language):
    with peer_with(language, "Condition", condition.name) as peer:
        peer.ask("wait")
        eventually(lambda: waiting(condition) == 1)
        here = in_thread(wait, condition)
        eventually(lambda: waiting(condition) == 2)
    notify(condition)
    assert here.result(SECONDS) is True
    assert wait(condition, 0.02) is False


@languages
def test_a_notified_waiter_that_is_killed_before_it_has_the_lock_passes_it_on(condition, language):
    with peer_with(language, "Condition", condition.name) as peer:
        peer.ask("wait")
        eventually(lambda: waiting(condition) == 1)
        here = in_thread(wait, condition)
        eventually(lambda: waiting(condition) == 2)
        with condition:
            condition.notify()
            peer.kill()
    assert here.result(SECONDS) is True


def test_a_python_waiter_that_is_killed_passes_its_notification_on_to_node(condition):
    with peer_with("node", "Condition", condition.name) as node:
        with peer_with("python", "Condition", condition.name) as python:
            python.ask("wait")
            eventually(lambda: waiting(condition) == 1)
            there = node.ask("wait")
            eventually(lambda: waiting(condition) == 2)
            with condition:
                condition.notify()
                python.kill()
        assert there.result(SECONDS) is True


@languages
def test_a_holder_that_is_killed_leaves_it_abandoned(condition, language):
    here = in_thread(wait, condition)
    eventually(lambda: waiting(condition) == 1)
    with peer_with(language, "Condition", condition.name) as peer:
        peer.call("acquire")
        peer.kill()
    with pytest.raises(ndshm.Abandoned):
        condition.acquire()
    with condition.hold(on_abandoned="repair") as hold:
        assert hold.abandoned
        condition.notify()
    assert here.result(SECONDS) is True
    with condition:
        pass


def test_a_waiter_is_told_of_a_holder_that_has_died(condition):
    here = in_thread(wait, condition)
    eventually(lambda: waiting(condition) == 1)
    child = os.fork()
    if child == 0:
        fine = not condition.locked() and condition.acquire()
        condition.notify()
        os.kill(os.getpid(), signal.SIGKILL if fine else signal.SIGTERM)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with condition.hold(on_abandoned="repair") as hold:
        assert hold.abandoned
        condition.notify()
    assert here.result(SECONDS) is True


def test_a_forked_child_does_not_hold_it(condition):
    with condition:
        child = os.fork()
        if child == 0:
            try:
                condition.notify()
            except ndshm.NotOwned:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0


def test_no_more_than_1024_wait(condition):
    with condition:
        for _ in range(1024):
            condition._waiters.add()
        with pytest.raises(ndshm.Error) as raised:
            condition.wait()
        assert raised.value.code == "ERR_NDSHM_FULL"


def test_a_closed_one_ends_all_waits(fresh_name):
    name = fresh_name("condition")
    condition, other = (ndshm.Condition(name, ephemeral=True) for _ in range(2))
    here = in_thread(wait, condition)
    eventually(lambda: waiting(other) == 1)
    condition.close()
    assert code_of(here) == "ERR_NDSHM_CLOSED"
    for method in (condition.acquire, condition.release, condition.wait, condition.notify, condition.locked):
        with pytest.raises(ndshm.Closed):
            method()
    notify(other)
    assert wait(other, 0.02) is False
    other.close()


def test_another_kind_is_refused(condition):
    with pytest.raises(ndshm.Error) as raised:
        ndshm.Barrier(condition.name, 2)
    assert raised.value.code == "ERR_NDSHM_MISMATCH"
