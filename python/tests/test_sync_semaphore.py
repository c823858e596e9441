"""A Semaphore, among threads, tasks, and processes in Python and Node."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

import ndshm
from node import Node
from sync_peer import SECONDS, code_of, eventually, in_thread, languages, peer_with, waits_in_a_thread


@pytest.fixture
def semaphore(fresh_name):
    made = ndshm.Semaphore(fresh_name("semaphore"), 2, ephemeral=True)
    yield made
    made.close()


def test_has_so_many_permits(semaphore):
    assert semaphore.value == 2
    with semaphore:
        assert semaphore.value == 1
        assert semaphore.acquire(blocking=False)
        assert semaphore.value == 0
        assert semaphore.acquire(blocking=False) is False
        assert semaphore.acquire(timeout=0.02) is False
        semaphore.release()
    assert semaphore.value == 2


def test_threads_have_no_more_permits_than_there_are(semaphore):
    inside, most = [], []

    def work():
        for _ in range(50):
            with semaphore:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    for each in [in_thread(work) for _ in range(5)]:
        each.result(SECONDS)
    assert max(most) <= 2
    assert semaphore.value == 2


def test_a_thread_that_waits_gets_what_another_one_releases(semaphore):
    semaphore.acquire()
    semaphore.acquire()
    waiting = [in_thread(semaphore.acquire) for _ in range(2)]
    semaphore.release(2)
    assert [each.result(SECONDS) for each in waiting] == [True, True]
    assert semaphore.value == 0
    semaphore.release(2)


def test_release_beyond_what_is_held_makes_permits_unless_it_is_bounded(fresh_name):
    semaphore = ndshm.Semaphore(fresh_name("free"), 0, ephemeral=True)
    semaphore.release(3)
    assert semaphore.value == 3
    with pytest.raises(ndshm.InvalidValue):
        semaphore.release(2**31 - 1)
    assert semaphore.value == 3
    semaphore.close()
    bounded = ndshm.Semaphore(fresh_name("bounded"), 1, bounded=True, ephemeral=True)
    with bounded, pytest.raises(ValueError) as raised:
        bounded.release(2)
    assert raised.value.code == "ERR_NDSHM_OUT_OF_RANGE"
    assert bounded.value == 1
    for wrong in (0, -1, 1.5):
        with pytest.raises(ndshm.Error):
            bounded.release(wrong)
    bounded.close()


def test_tasks_get_permits_in_the_order_of_their_calls(semaphore):
    log = []

    async def work(number):
        async with semaphore:
            log.append(number)
            await asyncio.sleep(0)

    async def main():
        await asyncio.wait_for(asyncio.gather(*map(work, range(12))), SECONDS)

    asyncio.run(main())
    assert log == list(range(12))
    assert semaphore.value == 2


def test_a_cancelled_task_has_taken_nothing_and_the_next_one_goes_on(semaphore):
    async def main():
        first, second, third = (asyncio.create_task(semaphore.acquire_async()) for _ in range(3))
        late = asyncio.create_task(semaphore.acquire_async(timeout=0.02))
        await waits_in_a_thread()
        assert await late is False
        for each in (first, second):
            each.cancel()
            with pytest.raises(asyncio.CancelledError):
                await each
        semaphore.release()
        assert await asyncio.wait_for(third, SECONDS) is True

    with semaphore:
        semaphore.acquire()
        asyncio.run(main())
        assert semaphore.value == 0
        semaphore.release()
    assert semaphore.value == 2


def test_an_interrupted_wait_has_taken_nothing(semaphore, fresh_name):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    asleep = threading.Event()
    until = semaphore._state.until

    def falls_asleep(*args):
        asleep.set()
        return until(*args)

    semaphore._state.until = falls_asleep

    def send():
        assert asleep.wait(SECONDS)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    try:
        with semaphore, semaphore:
            sender = in_thread(send)
            with pytest.raises(KeyboardInterrupt):
                semaphore.acquire(timeout=SECONDS)
            sender.result(SECONDS)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert semaphore.value == 2


def test_a_process_stopped_in_the_middle_of_a_change_does_not_stop_the_event_loop(semaphore):
    other = ndshm.Semaphore(semaphore.name)

    async def main():
        task = asyncio.create_task(semaphore.acquire_async())
        await waits_in_a_thread()
        assert await semaphore.acquire_async(timeout=0.02) is False
        assert not task.done()
        other._state.attachment.leave_write(unchanged=True)
        assert await asyncio.wait_for(task, SECONDS) is True

    # As one who has been stopped there.
    in_thread(other._state.attachment.enter_write).result(SECONDS)
    asyncio.run(main())
    other.close()
    assert semaphore.value == 1


@languages
def test_another_process_has_the_same_permits(semaphore, language):
    with peer_with(language, "Semaphore", semaphore.name) as peer:
        assert peer.call("acquire") is True
        assert [semaphore.value, peer.call("value")] == [1, 1]
        with semaphore:
            assert peer.call("acquire_now") is False
            assert peer.call("acquire", 0.02) is False
            got = peer.ask("acquire")
        assert got.result(SECONDS) is True
        waiting = in_thread(semaphore.acquire)
        peer.call("release", 1)
        assert waiting.result(SECONDS) is True
        peer.call("release", 1)
        semaphore.release()
        assert semaphore.value == 2


def test_threads_and_node_have_no_more_permits_than_there_are(semaphore, fresh_name):
    inside = ndshm.Value(fresh_name("inside"), ephemeral=True)
    times = 200

    def work():
        most = 0
        for _ in range(times):
            with semaphore:
                most = max(most, inside.add(1) + 1)
                inside.sub(1)
        return most

    script = """
        const semaphore = new ndshm.Semaphore(names[0]);
        const inside = new ndshm.Value(names[1]);
        let most = 0;
        const work = () => semaphore.run(() => {
            most = Math.max(most, inside.add(1) + 1);
            inside.sub(1);
        });
        for (let n = 0; n < times; n++) await Promise.all([work(), work()]);
        return most;
    """
    with Node() as node:
        call = node.begin(script, names=[semaphore.name, inside.name], times=times)
        most = [each.result(SECONDS) for each in [in_thread(work) for _ in range(3)]]
        assert max(*most, node.answer(call, SECONDS)) <= 2
    assert semaphore.value == 2
    inside.close()


@languages
def test_permits_of_a_killed_process_come_back(semaphore, language):
    with peer_with(language, "Semaphore", semaphore.name) as peer:
        peer.call("acquire")
        peer.call("acquire")
        waiting = in_thread(semaphore.acquire)
        peer.kill()
    assert waiting.result(SECONDS) is True
    assert semaphore.value == 1
    semaphore.release()


def test_permits_of_a_killed_python_process_come_back_to_node(semaphore):
    with peer_with("node", "Semaphore", semaphore.name) as node:
        with peer_with("python", "Semaphore", semaphore.name) as python:
            python.call("acquire")
            python.call("acquire")
            waiting = node.ask("acquire")
        assert waiting.result(SECONDS) is True


def test_permits_of_a_killed_process_are_lost_where_nobody_holds_any(fresh_name):
    semaphore = ndshm.Semaphore(fresh_name("count"), 3, undo=False, ephemeral=True)
    with peer_with("python", "Semaphore", semaphore.name) as peer:
        peer.call("acquire")
    semaphore.acquire()
    assert semaphore.value == 1
    semaphore.close()


def test_a_forked_child_holds_none_and_takes_and_leaves_its_own(semaphore):
    semaphore.acquire()
    child = os.fork()
    if child == 0:
        fine = semaphore.value == 1 and semaphore.acquire(blocking=False) and not semaphore.acquire(blocking=False)
        os._exit(0 if fine else 1)  # without a release
    assert os.waitpid(child, 0)[1] == 0
    assert semaphore.value == 1
    semaphore.release()
    assert semaphore.value == 2


def test_a_closed_one_gives_back_what_it_held_and_ends_all_waits(fresh_name):
    name = fresh_name("semaphore")
    semaphore, other = (ndshm.Semaphore(name, ephemeral=True) for _ in range(2))
    semaphore.acquire()
    waiting = in_thread(semaphore.acquire)
    eventually(lambda: other.value == 0)
    semaphore.close()
    assert code_of(waiting) == "ERR_NDSHM_CLOSED"
    assert other.value == 1
    for method in (semaphore.acquire, semaphore.release, lambda: semaphore.value):
        with pytest.raises(ndshm.Closed):
            method()
    other.close()


def test_other_options_or_another_kind_are_refused(semaphore, fresh_name):
    for options in ({"value": 3}, {"bounded": True}, {"undo": False}):
        with pytest.raises(ndshm.Error) as raised:
            ndshm.Semaphore(semaphore.name, **options)
        assert raised.value.code == "ERR_NDSHM_MISMATCH"
    ndshm.Semaphore(semaphore.name, 2, bounded=False, undo=True).close()
    ndshm.Semaphore(semaphore.name).close()
    with pytest.raises(ndshm.Error) as raised:
        ndshm.Event(semaphore.name)
    assert raised.value.code == "ERR_NDSHM_MISMATCH"
    for wrong in (-1, 2**31, "2", 1.0):
        with pytest.raises(ndshm.Error):
            ndshm.Semaphore(fresh_name("wrong"), wrong)
