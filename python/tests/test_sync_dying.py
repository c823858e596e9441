"""A process that dies in the place of any one of its stores leaves a state that others go on with."""

from __future__ import annotations

import contextlib
import os
import signal
from itertools import count
from typing import Callable

import pytest

import ndshm
from ndshm.sync._words import Words
from sync_peer import SECONDS, in_thread

STORES = ("store", "compare_exchange", "set_bits", "clear_bits", "add")


def dying_at_each_store(act: Callable[[], object], check: Callable[[bool], object]) -> int:
    """Has one forked child after the other act, and die in the place of its first, second ... store.

    After each, `check` looks at what is left. How many have died.
    """
    for stores in count():
        child = os.fork()
        if child == 0:
            _die_at(stores)
            with contextlib.suppress(Exception):
                act()
                os._exit(0)
            os._exit(1)
        status = os.waitpid(child, 0)[1]
        died = os.WIFSIGNALED(status)
        assert status == (signal.SIGKILL if died else 0)
        check(died)
        if not died:
            return stores
    raise AssertionError


def _die_at(stores: int) -> None:
    left = stores

    def counted(change):
        def changes(*args):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return change(*args)

        return changes

    for name in STORES:
        setattr(Words, name, counted(getattr(Words, name)))


def test_permits_are_all_there(fresh_name):
    semaphore = ndshm.Semaphore(fresh_name("semaphore"), 2, ephemeral=True)

    def check(died):
        assert semaphore.value == 2
        with semaphore:
            assert semaphore.acquire(timeout=0)
            semaphore.release()

    def act():
        semaphore.acquire()
        semaphore.acquire()
        semaphore.release()

    assert dying_at_each_store(act, check) >= 5
    semaphore.close()


def test_permits_are_made_or_not(fresh_name):
    semaphore = ndshm.Semaphore(fresh_name("semaphore"), 1, ephemeral=True)
    before = 1

    def act():
        semaphore.acquire()
        semaphore.release(3)

    def check(died):
        nonlocal before
        assert semaphore.value - before in ((0, 2) if died else (2,))
        before = semaphore.value

    assert dying_at_each_store(act, check) >= 3
    semaphore.close()


def test_a_barrier_is_broken_or_has_nobody(fresh_name):
    barrier = ndshm.Barrier(fresh_name("barrier"), 2, ephemeral=True)

    def act():
        with contextlib.suppress(ndshm.Error):
            barrier.wait(0.01)
        barrier.reset()

    def check(died):
        assert barrier.n_waiting == 0
        if died:
            with contextlib.suppress(ndshm.BrokenBarrier):
                barrier.wait(0.01)
            barrier.reset()
        parties = [in_thread(barrier.wait, SECONDS) for _ in range(2)]
        assert sorted(each.result(SECONDS) for each in parties) == [0, 1]

    assert dying_at_each_store(act, check) >= 5
    barrier.close()


def test_an_item_is_in_a_queue_or_is_not(fresh_name):
    jobs = ndshm.Queue(fresh_name("queue"), 3, ephemeral=True)

    def put_is_whole(died):
        assert jobs.qsize() in ((0, 1) if died else (1,))
        for _ in range(jobs.qsize()):
            assert jobs.get() == {"an": "item"}

    def get_is_whole(died):
        if jobs.empty():
            jobs.put("item")
        else:
            assert died

    assert dying_at_each_store(lambda: jobs.put({"an": "item"}), put_is_whole) == 3
    jobs.put("item")
    assert dying_at_each_store(jobs.get, get_is_whole) == 1
    assert jobs.get() == "item"
    jobs.close()


@pytest.mark.parametrize("what", ["wait", "notify"])
def test_nobody_waits_in_vain_for_a_condition(fresh_name, what):
    condition = ndshm.Condition(fresh_name("condition"), ephemeral=True)

    def act():
        with condition:
            if what == "wait":
                condition.wait(0.01)
            else:
                condition.notify()

    def wait():
        with condition:
            return condition.wait(SECONDS)

    def check(died):
        if what == "notify":
            with condition.hold(on_abandoned="repair"):
                condition.notify()  # in case that the child has not
            assert waiting.result(SECONDS) is True
        with condition.hold(on_abandoned="repair"):
            assert condition.wait(0) is False

    def begin():
        thread = in_thread(wait)
        while not condition._waiters._waiting():
            pass
        return thread

    waiting = begin() if what == "notify" else None

    def check_and_begin(died):
        nonlocal waiting
        check(died)
        if what == "notify":
            waiting = begin()

    assert dying_at_each_store(act, check_and_begin) >= (5 if what == "wait" else 1)
    if what == "notify":
        with condition:
            condition.notify_all()
        assert waiting.result(SECONDS) is True
    condition.close()
