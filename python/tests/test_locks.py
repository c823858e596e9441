"""The lock and the version of an array: within a thread, between threads, tasks, and processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ndshm
from ndshm import _lock, _stop
from node import Node
from peer import LIMIT, PeerError
from python import Python

ENTER = "kept['a'] = ndshm.open(name, 'r+'); kept['hold'] = getattr(kept['a'], access)(); kept['hold'].__enter__()"
LEAVE = "kept['hold'].__exit__(None, None, None)"


@pytest.fixture
def a(fresh_name):
    with ndshm.create(fresh_name("lock"), 4, "int64", ephemeral=True) as array:
        yield array


def in_thread(fn):
    """Its future; the thread has begun."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(fn)
    pool.shutdown(wait=False)
    return future


def until(condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"


def test_a_write_counts_up_the_version_and_is_odd_inside(a):
    with a.write() as hold:
        assert a.version == 1
        assert not hold.abandoned
    assert a.version == 2
    with a.read() as hold:
        assert a.version == 2
        assert not hold.abandoned


def test_a_block_that_raises_lets_the_lock_go(a):
    with pytest.raises(KeyError), a.write():
        raise KeyError
    assert a.version == 2
    with pytest.raises(KeyError), a.read():
        raise KeyError
    with a.write(timeout=0):
        pass


@pytest.mark.parametrize("outer", ["write", "read"])
@pytest.mark.parametrize("inner", ["write", "read"])
def test_the_thread_that_holds_it_gets_an_error_instead_of_waiting_for_itself(a, outer, inner):
    with ndshm.open(a.name, "r+") as neighbour:
        for other in (a, neighbour):
            with getattr(a, outer)():
                if (outer, inner) == ("read", "read"):
                    with other.read():
                        pass
                else:
                    with pytest.raises(ndshm.Deadlock) as raised, getattr(other, inner)():
                        pass
                    assert raised.value.code == "ERR_NDSHM_DEADLOCK"
                    with pytest.raises(ndshm.Timeout), getattr(other, inner)(timeout=0):
                        pass
                    assert getattr(other, f"try_{inner}")() is None
    with a.write(timeout=0):
        pass


@pytest.mark.parametrize("make", [Node, Python])
@pytest.mark.parametrize(
    ("theirs", "ours", "meets"),
    [("write", "write", True), ("write", "read", True), ("read", "write", True), ("read", "read", False)],
)
def test_other_processes_keep_us_out_as_they_should(a, make, theirs, ours, meets):
    with make() as other:
        if make is Node:
            other.run("kept.a = ndshm.open(name, { mode: 'r+' });", name=a.name)
            held = other.begin(f"await kept.a.{theirs}(() => new Promise((leave) => {{ kept.leave = leave; }}));")
            other.run("")
        else:
            other.run(ENTER, name=a.name, access=theirs)
        tried = getattr(a, f"try_{ours}")()
        if meets:
            assert tried is None
            began = time.monotonic()
            with pytest.raises(ndshm.Timeout) as raised, getattr(a, ours)(timeout=0.05):
                pass
            assert raised.value.code == "ERR_NDSHM_TIMEOUT"
            assert isinstance(raised.value, TimeoutError)
            assert 0.05 <= time.monotonic() - began < 5
            waiting = in_thread(lambda: getattr(a, ours)().__enter__())
            with pytest.raises(concurrent.futures.TimeoutError):
                waiting.result(0.02)
        else:
            with tried:
                pass
        if make is Node:
            other.run("kept.leave();")
            other.answer(held)
        else:
            other.run(LEAVE)
        if meets:
            waiting.result(LIMIT).__exit__(None, None, None)


def test_try_write_holds_until_the_end_of_its_block(a):
    with a.try_write() as hold:
        assert a.version == 1
        assert not hold.abandoned
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(a.try_read).result() is None
    assert a.version == 2


def test_threads_of_a_process_exclude_each_other(a):
    count = 2000

    def work():
        for _ in range(count):
            with a.write():
                a[0] += 1

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(work) for _ in range(4)]:
            each.result(LIMIT)
    assert a[0] == 4 * count
    assert a.version == 8 * count


def test_threads_that_read_are_inside_together_and_a_writer_waits_for_all(a):
    together = threading.Barrier(3)
    leave = threading.Event()

    def read():
        with a.read():
            together.wait(LIMIT)
            assert leave.wait(LIMIT)

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        together.wait(LIMIT)
        assert a.try_write() is None
        leave.set()
        for reader in readers:
            reader.result(LIMIT)
    with a.write(timeout=LIMIT):
        pass


def test_threads_get_in_in_the_order_in_which_they_asked(a):
    order = []
    line = a._attachment._lock._line

    def work(n):
        with a.write():
            order.append(n)

    with ThreadPoolExecutor(5) as pool, a.write():
        for n in range(5):
            pool.submit(work, n)
            until(lambda n=n: len(line) == n + 1)
    assert order == [0, 1, 2, 3, 4]


def test_a_lock_that_a_thread_which_has_ended_has_taken(a):
    hold = a.write()
    in_thread(hold.__enter__).result(LIMIT)
    for _ in range(3):  # threads that have the numbers of threads that have ended
        with pytest.raises(ndshm.Timeout):
            in_thread(lambda: a.write(timeout=0.01).__enter__()).result(LIMIT)
    hold.__exit__(None, None, None)
    with a.write(timeout=0):
        pass


def test_a_thread_that_gives_up_leaves_the_line(a):
    with a.write():
        with pytest.raises(ndshm.Timeout):
            in_thread(lambda: a.write(timeout=0.02).__enter__()).result(LIMIT)
        behind = in_thread(lambda: a.write(timeout=LIMIT).__enter__())
    behind.result(LIMIT).__exit__(None, None, None)


def test_close_ends_the_waits_of_other_threads(a):
    with Python() as other:
        other.run(ENTER, name=a.name, access="write")
        waits = [
            in_thread(lambda: a.write().__enter__()),
            in_thread(lambda: a.read().__enter__()),
            in_thread(lambda: a.changed()),
            in_thread(lambda: a.snapshot()),
        ]
        until(lambda: len(a._attachment._lock._waits) == 4)
        a.close()
        for wait in waits:
            with pytest.raises(ndshm.Closed):
                wait.result(LIMIT)


def test_closing_in_the_middle_of_a_write_is_dying_there(a):
    with ndshm.open(a.name, "r+") as other:
        with pytest.raises(ndshm.Closed), a.write():
            a.close()
        with pytest.raises(ndshm.Abandoned), other.write():
            pass
        with other.write(on_abandoned="repair") as hold:
            assert hold.abandoned
        with other.write() as hold:
            assert not hold.abandoned


@pytest.mark.parametrize("access", ["write", "read"])
def test_an_abandoned_array_is_an_error_each_time_until_it_is_repaired(a, access):
    with ndshm.open(a.name, "r+") as other, pytest.raises(ndshm.Closed), other.write():
        other.close()
    for _ in range(3):
        with pytest.raises(ndshm.Abandoned), getattr(a, access)():
            pass
    with a.write(on_abandoned="repair"):
        pass
    with getattr(a, access)() as hold:
        assert not hold.abandoned


def test_releasing_what_is_not_held(a):
    hold = a.write()
    for leave in (lambda: hold.__exit__(None, None, None), lambda: a.read().__exit__(None, None, None)):
        with pytest.raises(ndshm.NotOwned):
            leave()


def test_only_mode_r_plus_writes(a):
    for mode in ("r", "c"):
        with ndshm.open(a.name, mode) as other:
            with pytest.raises(ndshm.Error) as raised:
                other.write()
            assert raised.value.code == "ERR_NDSHM_READ_ONLY"
            with other.read():
                pass


@pytest.mark.parametrize(
    "options",
    [{"on_abandoned": "maybe"}, {"timeout": -1}, {"timeout": float("nan")}, {"timeout": "1"}, {"timeout": True}],
)
def test_wrong_options(a, options):
    with pytest.raises((TypeError, ValueError)) as raised:
        a.write(**options)
    assert isinstance(raised.value, ndshm.Error)


def test_ctrl_c_ends_a_wait(a):
    with Python() as holder:
        holder.run(ENTER, name=a.name, access="write")
        with Python("kept['a'] = ndshm.open(name, 'r+')", name=a.name) as other:
            waiting = other.begin("kept['a'].write().__enter__()")
            # Once it waits, its words say so.
            until(lambda: is_waiting(a, other.pid))
            other.process.send_signal(signal.SIGINT)
            with pytest.raises(PeerError) as raised:
                other.answer(waiting)
            assert raised.value.code == "KeyboardInterrupt"
            assert other.run("return kept['a'].try_write() is None")
            holder.run(LEAVE)
            assert other.run("with kept['a'].write(timeout=10): return True")


@pytest.mark.parametrize("access", ["write", "read"])
def test_ctrl_c_just_when_the_lock_was_to_be_had_leaves_it_free(a, access, monkeypatch):
    with ndshm.open(a.name, "r+") as other:
        holding = other.write()
        in_thread(holding.__enter__).result(LIMIT)
        enter = getattr(_lock.lib, f"ndshm_lock_enter_{access}")

        def enter_and_be_interrupted(*args):
            holding.__exit__(None, None, None)
            assert enter(*args) == 1
            raise KeyboardInterrupt

        monkeypatch.setitem(vars(_lock.lib), f"ndshm_lock_enter_{access}", enter_and_be_interrupted)
        with pytest.raises(KeyboardInterrupt), getattr(a, access)():
            pass
        monkeypatch.undo()
        assert a.version == 2
        for array in (other, a):
            with array.write(timeout=0):
                pass


@pytest.mark.parametrize("access", ["write", "read"])
def test_ctrl_c_on_the_way_in_or_out_without_contention_leaves_it_free(a, access):
    lock = a._attachment._lock

    def interrupted(fn):
        def call(*args):
            fn(*args)
            raise KeyboardInterrupt

        return call

    assert a.version == 0  # asks for the lock's words, which are mapped by it
    for step in (f"_try_{access}", f"_leave_{access}"):
        undisturbed = getattr(lock, step)
        setattr(lock, step, interrupted(undisturbed))
        with pytest.raises(KeyboardInterrupt), getattr(a, access)():
            pass
        setattr(lock, step, undisturbed)
        assert not a._attachment.holding
        with ndshm.open(a.name, "r+") as other:
            for array in (other, a):
                with array.write(timeout=0):
                    pass


def test_a_signals_handler_closes_the_array_that_its_thread_waits_for(a):
    def interrupt():
        until(lambda: a._attachment._lock._waits)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: a.close())
    try:
        interrupting = in_thread(interrupt)
        with pytest.raises(ndshm.Closed):
            a.changed()
        interrupting.result(LIMIT)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_neighbours_are_looked_through_while_another_thread_opens_arrays(a):
    enough = threading.Event()

    def open_and_close():
        while not enough.is_set():
            arrays = [ndshm.open(a.name) for _ in range(20)]
            for array in arrays:
                assert array.version == 0
            for array in arrays:
                array.close()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        assert a.version == 0
        churning = in_thread(open_and_close)
        for _ in range(2000):
            a._attachment._lock._check_neighbours(_stop.caller(), False)
        enough.set()
        churning.result(LIMIT)
    finally:
        enough.set()
        sys.setswitchinterval(interval)


def is_waiting(array, pid):
    """Whether the peer's words say that it waits (docs/format.md)."""
    control = np.fromfile(f"/dev/shm/{array.name}", np.uint32)[-20480 // 4 :]
    peers = control[1024:].reshape(256, 16)
    return any(peer[4] == pid and peer[9] != 0 for peer in peers)


# ---- asyncio ----


def test_what_a_snapshots_function_raises_comes_out_even_where_no_future_takes_it(a):
    with pytest.raises(RuntimeError) as raised:
        asyncio.run(asyncio.wait_for(a.snapshot_async(lambda _: next(iter([]))), LIMIT))
    assert isinstance(raised.value.__cause__, StopIteration)


def test_async_with_waits_without_blocking_the_loop(a):
    async def main():
        with Python() as other:
            other.run(ENTER, name=a.name, access="write")
            turns = 0

            async def enter():
                async with a.write():
                    return a.version

            entering = asyncio.ensure_future(enter())
            while turns < 20:
                await asyncio.sleep(0)
                turns += 1
            assert not entering.done()
            other.run(LEAVE)
            assert await asyncio.wait_for(entering, LIMIT) % 2 == 1

    asyncio.run(main())


def test_tasks_exclude_each_other_and_wait_for_each_other(a):
    async def work():
        for _ in range(20):
            async with a.write():
                value = int(a[0])
                await asyncio.sleep(0)
                a[0] = value + 1

    async def main():
        await asyncio.wait_for(asyncio.gather(*(work() for _ in range(5))), LIMIT)

    asyncio.run(main())
    assert a[0] == 100


def test_a_task_that_waits_for_itself_and_a_loop_that_would_wait_for_its_task(a):
    async def main():
        async with a.write():
            with pytest.raises(ndshm.Deadlock):
                async with a.write():
                    pass
            with pytest.raises(ndshm.Deadlock), a.write():
                pass
        with a.write(), pytest.raises(ndshm.Deadlock):
            async with a.write():
                pass
        async with a.read(), a.read():
            pass
        async with a.write(timeout=0):
            pass

    asyncio.run(main())


async def until_a_thread_waits():
    end = time.monotonic() + LIMIT
    while not any(thread.name == "ndshm-wait" for thread in threading.enumerate()):
        assert time.monotonic() < end
        await asyncio.sleep(0)


def test_a_wait_that_is_cancelled_twice_gives_back_what_it_has_come_to():
    has_begun, may_enter, undone = threading.Event(), threading.Event(), []

    def enter():
        has_begun.set()
        return may_enter.wait(LIMIT)

    async def main():
        task = asyncio.ensure_future(_stop.in_thread(enter, _stop.Stop(), undone.append))
        while not has_begun.is_set():
            await asyncio.sleep(0)
        for _ in range(2):  # as asyncio.run() does at its end, to a task that was cancelled just before
            task.cancel()
            await asyncio.sleep(0)
        may_enter.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert undone == [True]


def test_cancelling_a_task_ends_its_wait_and_holds_nothing(a):
    async def main():
        with Python() as other:
            other.run(ENTER, name=a.name, access="write")

            async def enter():
                async with a.write():
                    pass

            for wait in (enter(), a.changed_async(), a.snapshot_async()):
                task = asyncio.ensure_future(wait)
                await until_a_thread_waits()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(task, LIMIT)
            with pytest.raises(ndshm.Timeout):
                async with a.write(timeout=0.01):
                    pass
            other.run(LEAVE)
        async with a.write(timeout=LIMIT):
            pass

    asyncio.run(main())
    with a.write(timeout=0):
        pass


# ---- versions ----


@pytest.mark.parametrize("make", [Node, Python])
def test_changed_returns_after_a_write_of_another_process(a, make):
    with make() as other:
        write = {
            Node: "ndshm.open(name, { mode: 'r+' }).writeSync((array) => array.set(0, 7n));",
            Python: "with ndshm.open(name, 'r+') as a, a.write(): a[0] = 7",
        }[make]
        seen = a.version
        waiting = in_thread(lambda: a.changed(timeout=LIMIT))
        until(lambda: len(a._attachment._lock._waits) == 1)
        other.run(write, name=a.name)
        assert waiting.result(LIMIT) == seen + 2
        assert a[0] == 7
        assert a.changed(since=seen) == seen + 2

        async def main():
            waiting = asyncio.ensure_future(a.changed_async(timeout=LIMIT))
            await asyncio.sleep(0)
            await asyncio.get_running_loop().run_in_executor(None, lambda: other.run(write, name=a.name))
            assert await waiting == seen + 4

        asyncio.run(main())
    with pytest.raises(ndshm.Timeout):
        a.changed(timeout=0.01)


def test_node_is_told_of_a_write_in_python(a):
    with Node("kept.a = ndshm.open(name);", name=a.name) as node:
        told = node.begin("return kept.a.changed({ since: 0 });")
        with a.write():
            a[0] = 1
        assert node.answer(told) == 2


def test_a_snapshot_is_consistent_while_node_writes(a):
    with Node("kept.a = ndshm.open(name, { mode: 'r+' });", name=a.name) as node:
        writing = node.begin(
            "let n = 0n; kept.go = true;"
            "while (kept.go) { n++; await kept.a.write((x) => { for (let i = 0; i < 4; i++) x.set(i, n); });"
            "if (n % 8n === 0n) await new Promise(setImmediate); }"
        )
        for _ in range(300):
            assert len(set(a.snapshot().tolist())) == 1
        node.run("kept.go = false;")
        node.answer(writing)


def test_what_a_snapshot_does_with_errors_and_half_written_data(a):
    with pytest.raises(ZeroDivisionError):
        a.snapshot(lambda array: 1 // 0)
    runs = []

    def look(array):
        runs.append(array.tolist())
        if len(runs) == 1:
            with a.write():
                a[0] = 1
            raise KeyError("comes of what it saw, which does not count")
        return runs[-1]

    assert a.snapshot(look) == [1, 0, 0, 0]
    assert len(runs) == 2
    with pytest.raises(TypeError):
        a.snapshot(7)
    with a.write(), pytest.raises(ndshm.Timeout):
        a.snapshot(timeout=0.01)


def test_snapshot_async(a):
    async def main():
        assert (await a.snapshot_async()).tolist() == [0, 0, 0, 0]
        assert await a.snapshot_async(lambda array: int(array.sum())) == 0

    asyncio.run(main())
