"""os.fork() and multiprocessing's start methods: a child is a peer of its own."""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import ndshm
from ndshm import _forks, _lock
from peer import LIMIT
from python import Python

SHM = Path("/dev/shm")
METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture
def a(fresh_name):
    with ndshm.create(fresh_name("fork"), 4, "int64", ephemeral=True) as array:
        yield array


def in_child(fn) -> int:
    """Forks, and gives the child's exit code: 0 if `fn` returned without an exception."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fn()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_is_another_peer(a):
    with a.write():
        a[0] = 1

    mine = a._attachment.slot, a._attachment.generation

    def child():
        assert (a._attachment.slot, a._attachment.generation) != mine
        assert len(ndshm.stat(a.name).peers) == 2
        assert a[0] == 1
        with a.write():
            a[1] = 2

    assert in_child(child) == 0
    assert a.tolist() == [1, 2, 0, 0]
    assert len(ndshm.stat(a.name).peers) == 1
    with a.write():
        pass


@pytest.mark.parametrize("access", ["write", "read"])
def test_what_the_parent_holds_the_child_does_not(a, access):
    def child():
        with pytest.raises(ndshm.Timeout), a.write(timeout=0.02):
            pass
        assert a.try_write() is None
        with pytest.raises(ndshm.NotOwned):
            hold.__exit__(None, None, None)

    with getattr(a, access)() as hold:
        assert in_child(child) == 0
        assert a._attachment.holding
    with a.write(timeout=0):
        pass


def test_the_childs_death_is_not_the_parents(a):
    def child():
        with a.write():
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(child) == -signal.SIGKILL
    with a.write("repair") as hold:
        assert hold.abandoned


@pytest.mark.parametrize("access", ["write", "read"])
def test_a_killed_parent_is_recovered_while_its_forked_child_lives(a, access):
    # The child would keep its parent's lock alive if it shared the open file of it.
    program = (
        "import os, sys, time\n"
        "kept['a'] = ndshm.open(name, 'r+')\n"
        "kept['a'].version\n"
        "kept['hold'] = getattr(kept['a'], access)(); kept['hold'].__enter__()\n"
        "ours, theirs = os.pipe()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        " try:\n"
        "  a = kept['a']\n"
        "  os.write(theirs, b'x')\n"
        "  done = a.changed(since=0, timeout=60) if access == 'read' else None\n"
        "  while access == 'write':\n"
        "   try:\n"
        "    with a.write('repair', timeout=60): a[3] = os.getpid()\n"
        "    break\n"
        "   except ndshm.Timeout: pass\n"
        "  if access == 'read': a[3] = done\n"
        " finally: os._exit(0)\n"
        "os.read(ours, 1)\n"
        "return child"
    )
    with Python() as parent:
        child = parent.run(program, name=a.name, access=access)
        parent.kill()
        try:
            with a.write("repair", timeout=20) as hold:
                a[0] = 1
                if access == "read":
                    assert not hold.abandoned
            assert a.changed(since=0, timeout=LIMIT) >= 2
        finally:
            os.kill(child, signal.SIGKILL)


def test_an_ephemeral_array_lives_until_the_last_of_parent_and_child(a, fresh_name):
    name = fresh_name("last")
    ours, theirs = os.pipe()
    array = ndshm.create(name, 3, ephemeral=True)
    child = os.fork()
    if child == 0:
        os.close(theirs)
        code = 1
        try:
            os.read(ours, 1)
            assert (SHM / name).exists()
            assert array.tolist() == [0, 0, 0]
            array.close()
            assert not (SHM / name).exists()
            code = 0
        finally:
            os._exit(code)
    os.close(ours)
    array.close()
    assert (SHM / name).exists()
    os.close(theirs)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_forked_child_of_a_process_with_threads_inside_and_waiting(a):
    entered = threading.Event()
    leave = threading.Event()

    def hold():
        with a.write():
            entered.set()
            leave.wait(LIMIT)

    def wait():
        with a.write():
            pass

    threads = [threading.Thread(target=each) for each in (hold, wait)]
    threads[0].start()
    assert entered.wait(LIMIT)
    threads[1].start()

    def child():
        with pytest.raises(ndshm.Timeout), a.write(timeout=0.02):
            pass

    assert in_child(child) == 0
    leave.set()
    for thread in threads:
        thread.join(LIMIT)
    with a.write(timeout=0):
        pass


def test_views_and_anonymous_arrays_go_on_in_the_child(a):
    view = a[1:]
    with ndshm.anonymous(3, "int32") as scratch:

        def child():
            with view.write():
                view[0] = 5
            with scratch.write():
                scratch[1] = 7

        assert in_child(child) == 0
        assert a.tolist() == [0, 5, 0, 0]
        assert scratch.tolist() == [0, 7, 0]
        assert scratch.version == 2


def test_arrays_that_were_closed_before_the_fork(fresh_name):
    array = ndshm.create(fresh_name(), 3, ephemeral=True)
    plain = np.asarray(array)
    array.close()

    def child():
        assert plain.tolist() == [0, 0, 0]
        assert array.closed
        gc.collect()

    assert in_child(child) == 0


def count(array, times):
    for _ in range(times):
        with array.write():
            array[0] += 1


def store(array, n, value):
    array[n] = value
    assert array.mode == "r+"


@pytest.mark.parametrize("method", METHODS)
def test_multiprocessing_with_each_start_method(a, method):
    context = multiprocessing.get_context(method)
    children = [context.Process(target=count, args=(a, 200)) for _ in range(2)]
    for child in children:
        child.start()
    count(a, 200)
    for child in children:
        child.join(LIMIT)
        assert child.exitcode == 0
    assert a[0] == 600
    assert len(ndshm.stat(a.name).peers) == 1


@pytest.mark.parametrize("method", METHODS)
def test_an_anonymous_array_and_a_view_as_arguments(method):
    context = multiprocessing.get_context(method)
    with ndshm.anonymous(4, "int64") as scratch:
        for array, n in ((scratch, 0), (scratch[1:], 1)):
            child = context.Process(target=store, args=(array, n, 8 + n))
            child.start()
            child.join(LIMIT)
            assert child.exitcode == 0
        assert scratch.tolist() == [8, 0, 9, 0]


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_takes_arrays_as_arguments(a, method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        pool.starmap(store, [(a, n, n * n) for n in range(4)])
        pool.close()
        pool.join()
    assert a.tolist() == [0, 1, 4, 9]


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_ends_last_takes_an_ephemeral_name_away(method, fresh_name):
    name = fresh_name("end")
    context = multiprocessing.get_context(method)
    array = ndshm.create(name, 3, ephemeral=True)
    opened, end = context.Event(), context.Event()
    child = context.Process(target=outlive, args=(array, opened, end))
    child.start()
    assert opened.wait(LIMIT)
    array.close()
    assert (SHM / name).exists()
    end.set()
    child.join(LIMIT)
    assert child.exitcode == 0
    assert not (SHM / name).exists()


def outlive(array, opened, end):
    opened.set()
    assert end.wait(LIMIT)
    outlive.array = array  # is not collected before the end


def test_a_fork_that_was_interrupted_while_it_waited_for_its_child_is_not_the_last(a, monkeypatch):
    class Interrupted:
        def register(self, *_):
            raise KeyboardInterrupt

    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: unraisable.append(found.exc_type))
    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(select, "poll", Interrupted)
        assert in_child(lambda: None) == 0
    assert unraisable == [KeyboardInterrupt]
    assert os.listdir("/proc/self/fd") == before
    assert not _forks._forking.turn.locked()
    assert in_child(lambda: None) == 0


def test_a_fork_while_another_thread_ends_a_wait(a):
    with _lock._ended, ThreadPoolExecutor(1) as pool:

        def child():
            signal.alarm(int(LIMIT))
            with pytest.raises(ndshm.Timeout):
                a.changed(timeout=0.01)

        assert pool.submit(in_child, child).result(LIMIT) == 0
