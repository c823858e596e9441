"""Being told of replacements."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import ndshm
from node import Node
from peer import LIMIT


@pytest.fixture
def name(fresh_name):
    name = fresh_name("watch")
    ndshm.from_array(name, [1, 2]).close()
    return name


def replace(name, values):
    ndshm.from_array(name, values, if_exists="replace").close()


def test_each_replacement_is_given_once(name):
    with ndshm.watch(name, "r+") as watch:
        with pytest.raises(ndshm.Timeout):
            watch.next(timeout=0.01)
        for values in ([3, 4], [5, 6, 7]):
            replace(name, values)
            with watch.next(LIMIT) as latest:
                assert latest.tolist() == values
                assert latest.mode == "r+"
            with pytest.raises(ndshm.Timeout):
                watch.next(timeout=0.01)


def test_replacements_that_nobody_asked_for_meanwhile_give_the_latest(name):
    with ndshm.watch(name) as watch:
        for n in range(5):
            replace(name, [n])
        with watch.next(LIMIT) as latest:
            assert latest.tolist() == [4]
        with pytest.raises(ndshm.Timeout):
            watch.next(timeout=0)


def test_since_an_array_that_has_been_replaced_already(name):
    with ndshm.open(name) as old:
        replace(name, [9])
        with ndshm.watch(name, since=old) as watch, watch.next(timeout=0) as latest:
            assert latest.tolist() == [9]
        with pytest.raises(TypeError):
            ndshm.watch(name, since=np.zeros(3))


def test_a_write_is_no_replacement(name):
    with ndshm.open(name, "r+") as a, ndshm.watch(name) as watch:
        with a.write():
            a[0] = 5
        with pytest.raises(ndshm.Timeout):
            watch.next(timeout=0.02)


def test_unlink_and_create_and_what_numpy_saves(name):
    with ndshm.watch(name) as watch:
        ndshm.unlink(name)
        with pytest.raises(ndshm.Timeout):
            watch.next(timeout=0.01)
        ndshm.from_array(name, [7]).close()
        with watch.next(LIMIT) as latest:
            assert latest.tolist() == [7]
        ndshm.unlink(name)
        with open(f"/dev/shm/{name}", "wb") as file:
            np.save(file, np.arange(3))
        with watch.next(LIMIT) as latest:
            assert latest.tolist() == [0, 1, 2]


def test_node_replaces_and_python_is_told(name):
    with ndshm.watch(name) as watch, Node() as node, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(watch.next, LIMIT)
        node.run("ndshm.fromArray(name, new Int8Array([1]), { ifExists: 'replace' }).close();", name=name)
        with waiting.result(LIMIT) as latest:
            assert latest.dtype == "int8"


def test_a_loop_ends_when_the_watch_is_closed(name):
    watch = ndshm.watch(name)
    threading.Timer(0.05, watch.close).start()
    assert list(watch) == []
    watch.close()
    with pytest.raises(ndshm.Closed):
        watch.next()


def test_async_for(name):
    async def main():
        seen = []
        with ndshm.watch(name) as watch:
            replace(name, [0])
            async for latest in watch:
                with latest:
                    seen.append(latest.tolist())
                if len(seen) == 3:
                    break
                asyncio.get_running_loop().call_later(0.01, replace, name, [len(seen)])
            with pytest.raises(ndshm.Timeout):
                await watch.next_async(timeout=0.01)
            waiting = asyncio.ensure_future(watch.next_async())
            await asyncio.sleep(0)  # until it waits
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        return seen

    assert asyncio.run(asyncio.wait_for(main(), LIMIT)) == [[0], [1], [2]]


def test_closing_it_ends_an_async_loop(name):
    async def main():
        watch = ndshm.watch(name)
        asyncio.get_running_loop().call_later(0.01, watch.close)
        return [each async for each in watch]

    assert asyncio.run(asyncio.wait_for(main(), LIMIT)) == []


def test_a_forked_child_has_a_watch_of_its_own(name):
    with ndshm.watch(name) as watch:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                replace(name, [8])
                with watch.next(LIMIT) as latest:
                    assert latest.tolist() == [8]
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with watch.next(LIMIT) as latest:
            assert latest.tolist() == [8]


def test_nothing_is_left_open(name):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        ndshm.watch(name).close()
        ndshm.watch(name)
    with pytest.raises(ValueError, match="mode"):
        ndshm.watch(name, "w")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_signals_handler_ends_the_loop_of_its_thread(name):
    watch = ndshm.watch(name)
    descriptors = tuple(watch._descriptors)

    def interrupt():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: watch.close())
    try:
        with ThreadPoolExecutor(1) as pool:
            looked = watch._look

            def look():
                found = looked()
                if not interrupting:
                    interrupting.append(pool.submit(interrupt))
                return found

            interrupting = []
            watch._look = look
            assert list(watch) == []
            interrupting[0].result(LIMIT)
    finally:
        signal.signal(signal.SIGUSR1, before)
    for descriptor in descriptors:
        with pytest.raises(OSError):
            os.fstat(descriptor)


@pytest.mark.parametrize("timeout", [float("inf"), 1e9])
def test_a_timeout_longer_than_what_poll_counts(name, timeout):
    with ndshm.watch(name) as watch, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(watch.next, timeout)
        replace(name, [8])
        with waiting.result(LIMIT) as latest:
            assert latest.tolist() == [8]
