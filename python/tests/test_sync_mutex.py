"""A Mutex, among threads, tasks, and processes in Python and Node."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

import ndshm
from sync_peer import SECONDS, code_of, eventually, in_thread, languages, peer_with, waits_in_a_thread


@pytest.fixture
def mutex(fresh_name):
    made = ndshm.Mutex(fresh_name("mutex"), ephemeral=True)
    yield made
    made.close()


def test_one_thread_at_a_time_holds_it(mutex):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(200):
            with mutex:
                inside += 1
                most = max(most, inside)
                inside -= 1

    for each in [in_thread(work) for _ in range(4)]:
        each.result(SECONDS)
    assert most == 1
    assert not mutex.locked()


def test_acquire_says_whether_it_is_held_in_time(mutex):
    assert mutex.acquire()
    assert mutex.locked()
    assert in_thread(mutex.acquire, timeout=0.02).result(SECONDS) is False
    assert in_thread(mutex.acquire, blocking=False).result(SECONDS) is False
    assert mutex.acquire(blocking=False) is False
    got = in_thread(mutex.acquire)
    mutex.release()
    assert got.result(SECONDS) is True
    mutex.release()
    assert not mutex.locked()


def test_what_cannot_be_is_an_error(mutex):
    with pytest.raises(ndshm.NotOwned) as raised:
        mutex.release()
    assert raised.value.code == "ERR_NDSHM_NOT_OWNED"
    with mutex:
        with pytest.raises(ndshm.Deadlock):
            mutex.acquire()
        assert mutex.locked()
    for wrong in ("1", -1, float("nan")):
        with pytest.raises(ndshm.Error):
            mutex.acquire(timeout=wrong)
    with pytest.raises(ndshm.Error):
        mutex.acquire(on_abandoned="ignore")
    assert not mutex.locked()


def test_a_reentrant_one_is_held_as_often_as_it_was_acquired(fresh_name):
    mutex = ndshm.Mutex(fresh_name("mutex"), reentrant=True, ephemeral=True)
    with mutex, mutex.hold() as hold:
        assert hold.abandoned is False
        assert mutex.acquire(timeout=0)
        mutex.release()
        assert in_thread(mutex.acquire, timeout=0).result(SECONDS) is False
        assert code_of(in_thread(mutex.release)) == "ERR_NDSHM_NOT_OWNED"
        assert mutex.locked()
    assert not mutex.locked()
    assert code_of(in_thread(mutex.release)) == "ERR_NDSHM_NOT_OWNED"
    mutex.close()


def in_one_that_ends(function):
    results = []
    thread = threading.Thread(target=lambda: results.append((threading.get_ident(), function())))
    thread.start()
    thread.join(SECONDS)
    return results[0]


def test_a_thread_does_not_hold_what_one_that_has_ended_held(fresh_name):
    mutex = ndshm.Mutex(fresh_name("mutex"), reentrant=True, ephemeral=True)
    condition = ndshm.Condition(fresh_name("condition"), ephemeral=True)

    def acquire_again():
        with pytest.raises(ndshm.NotOwned):
            condition.notify()
        return mutex.acquire(timeout=0)

    number, held = in_one_that_ends(lambda: mutex.acquire() and condition.acquire())
    assert held
    # Python mostly gives the number to the very next thread.
    others = (in_one_that_ends(acquire_again) for _ in range(1000))
    assert next(held for other, held in others if other == number) is False
    mutex.close()
    condition.close()


def test_a_task_holds_a_reentrant_one_and_other_tasks_of_its_thread_do_not(fresh_name):
    mutex = ndshm.Mutex(fresh_name("mutex"), reentrant=True, ephemeral=True)

    async def main():
        async with mutex:
            async with mutex:
                other = asyncio.create_task(mutex.acquire_async(timeout=0.02))
                assert await other is False
            assert mutex.locked()

    asyncio.run(main())
    assert not mutex.locked()
    mutex.close()


def test_tasks_hold_it_one_after_another(mutex):
    log = []

    async def work(name):
        async with mutex:
            log.append(name)
            await asyncio.sleep(0)
            log.append(name)

    async def main():
        await asyncio.wait_for(asyncio.gather(*map(work, "abc")), SECONDS)

    asyncio.run(main())
    assert log[::2] == log[1::2]
    assert sorted(log) == list("aabbcc")


def test_a_cancelled_task_holds_nothing(mutex):
    other = ndshm.Mutex(mutex.name)

    async def main():
        task = asyncio.create_task(mutex.acquire_async())
        await waits_in_a_thread()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_thread(other.acquire).result(SECONDS)
    asyncio.run(main())
    other.release()
    assert mutex.acquire(timeout=SECONDS)
    mutex.release()
    other.close()


@languages
def test_another_process_has_the_same_mutex(mutex, language):
    with peer_with(language, "Mutex", mutex.name) as peer:
        with mutex:
            assert peer.call("locked")
            assert peer.call("acquire_now") is False
            assert peer.call("acquire", 0.02) is False
            got = peer.ask("acquire")
        assert got.result(SECONDS) is True
        assert mutex.locked()
        assert mutex.acquire(timeout=0.02) is False
        waiting = in_thread(mutex.acquire)
        peer.call("release")
        assert waiting.result(SECONDS) is True
        mutex.release()


@languages
def test_a_holder_that_is_killed_leaves_it_abandoned_until_it_is_repaired(mutex, language):
    with peer_with(language, "Mutex", mutex.name) as other:
        with peer_with(language, "Mutex", mutex.name) as peer:
            peer.call("acquire")
            waiting = in_thread(mutex.acquire)
            peer.kill()
        assert code_of(waiting) == "ERR_NDSHM_ABANDONED"
        assert other.code("acquire") == "ERR_NDSHM_ABANDONED"
        with pytest.raises(ZeroDivisionError), mutex.hold(on_abandoned="repair") as hold:
            assert hold.abandoned
            raise ZeroDivisionError
        assert other.code("acquire") == "ERR_NDSHM_ABANDONED"
        with mutex.hold(on_abandoned="repair") as hold:
            assert hold.abandoned
        assert other.call("acquire")


def test_a_python_process_that_is_killed_leaves_it_abandoned_to_node(mutex):
    with peer_with("node", "Mutex", mutex.name) as node:
        with peer_with("python", "Mutex", mutex.name) as python:
            python.call("acquire")
        assert node.code("acquire") == "ERR_NDSHM_ABANDONED"
        assert node.call("repair") is True
        assert mutex.acquire(timeout=SECONDS)
        mutex.release()


def test_a_forked_child_holds_nothing(mutex):
    reentrant = ndshm.Mutex(f"{mutex.name}-r", reentrant=True, ephemeral=True)
    with mutex, reentrant:
        child = os.fork()
        if child == 0:
            held = mutex.acquire(blocking=False) or reentrant.acquire(blocking=False)
            mutex.close()
            reentrant.close()
            os._exit(1 if held else 0)
        assert os.waitpid(child, 0)[1] == 0
        assert mutex.locked()
    reentrant.close()


def test_a_closed_one_ends_all_waits_and_its_holder_counts_as_dead(fresh_name):
    name = fresh_name("mutex")
    mutex, other = ndshm.Mutex(name, ephemeral=True), ndshm.Mutex(name, ephemeral=True)
    mutex.acquire()
    waiting = in_thread(mutex.acquire)
    eventually(lambda: len(threading.enumerate()) > 1)
    mutex.close()
    mutex.close()
    assert code_of(waiting) == "ERR_NDSHM_CLOSED"
    for method in (mutex.acquire, mutex.release, mutex.locked):
        with pytest.raises(ndshm.Closed):
            method()
    with pytest.raises(ndshm.Abandoned):
        other.acquire()
    other.close()


def test_a_name_of_something_else_is_refused(fresh_name):
    name = fresh_name("event")
    event = ndshm.Event(name, ephemeral=True)
    with pytest.raises(ndshm.Error) as raised:
        ndshm.Mutex(name)
    assert raised.value.code == "ERR_NDSHM_MISMATCH"
    event.close()
    array = ndshm.create(name, 40, "int32", ephemeral=True)
    with pytest.raises(ndshm.Error) as raised:
        ndshm.Mutex(name)
    assert raised.value.code == "ERR_NDSHM_MISMATCH"
    array.close()
    for wrong in ("", ".hidden", "a/b"):
        with pytest.raises(ndshm.Error) as raised:
            ndshm.Mutex(wrong)
        assert raised.value.code == "ERR_NDSHM_INVALID_NAME"
