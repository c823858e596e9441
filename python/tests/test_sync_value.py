"""A Value, among threads, tasks, and processes in Python and Node."""

from __future__ import annotations

import asyncio
import math
import os

import pytest

import ndshm
from sync_peer import SECONDS, code_of, in_thread, languages, peer_with, waits_in_a_thread

INTEGERS = [f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")]


@pytest.fixture
def value(fresh_name):
    made = ndshm.Value(fresh_name("value"), "int32", ephemeral=True)
    yield made
    made.close()


def limits(dtype):
    bits = int(dtype.lstrip("uint"))
    return (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap_around_and_refuse_what_does_not_fit(fresh_name, dtype):
    low, high = limits(dtype)
    value = ndshm.Value(fresh_name("value"), dtype, high, ephemeral=True)
    assert value.dtype == dtype
    assert value.add(1) == high
    assert value.load() == low
    assert value.sub(1) == low
    assert value.value == high
    assert value.exchange(low) == high
    assert value.compare_exchange(high, 1) == low
    assert value.compare_exchange(low, 5) == low
    assert [value.and_(6), value.or_(3), value.xor(1)] == [5, 4, 7]
    assert value.load() == 6
    value.value = 7
    assert value.load() == 7
    for wrong in (low - 1, high + 1, 1.5, "1", None):
        with pytest.raises(ndshm.Error) as raised:
            value.store(wrong)
        assert raised.value.code in ("ERR_NDSHM_OUT_OF_RANGE", "ERR_NDSHM_INVALID_ARGUMENT")
    assert value.load() == 7
    value.close()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_added_and_compared_by_their_bits(fresh_name, dtype):
    value = ndshm.Value(fresh_name("value"), dtype, 0.5, ephemeral=True)
    assert value.add(1) == 0.5
    assert value.sub(0.25) == 1.5
    assert value.load() == 1.25
    value.store(-0.0)
    assert value.compare_exchange(0.0, 1.0) == 0.0
    assert math.copysign(1, value.load()) == -1
    value.store(math.nan)
    assert math.isnan(value.compare_exchange(math.nan, 2.0))
    assert value.load() == 2.0
    value.store(1e300)
    assert value.load() == (math.inf if dtype == "float32" else 1e300)
    with pytest.raises(ndshm.Error) as raised:
        value.or_(1)
    assert raised.value.code == "ERR_NDSHM_DTYPE"
    with pytest.raises(ndshm.InvalidArgument):
        value.store("1")
    value.close()


def test_a_bool_has_no_sum(fresh_name):
    value = ndshm.Value(fresh_name("value"), "bool", ephemeral=True)
    assert value.load() is False
    assert value.or_(True) is False
    assert value.xor(True) is True
    assert value.exchange(1) is False
    for method in (value.add, value.sub):
        with pytest.raises(ndshm.Error) as raised:
            method(True)
        assert raised.value.code == "ERR_NDSHM_DTYPE"
    with pytest.raises(ndshm.InvalidArgument):
        value.store(2)
    assert value.load() is True
    value.close()


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_no_addition_is_lost_among_threads(fresh_name, dtype):
    value = ndshm.Value(fresh_name("value"), dtype, ephemeral=True)

    def work():
        for _ in range(1000):
            value.add(1)

    for each in [in_thread(work) for _ in range(4)]:
        each.result(SECONDS)
    assert value.load() == 4000
    value.close()


def test_until_waits_for_what_is_true_of_it(value):
    waiting = in_thread(value.until, lambda found: found >= 3)
    for _ in range(3):
        value.add(1)
    assert waiting.result(SECONDS) == 3
    assert value.until(lambda found: found == 3, timeout=0) == 3
    with pytest.raises(ndshm.Timeout) as raised:
        value.until(lambda found: found > 3, timeout=0.02)
    assert raised.value.code == "ERR_NDSHM_TIMEOUT"
    with pytest.raises(ZeroDivisionError):
        value.until(lambda found: 1 / 0)
    with pytest.raises(ndshm.InvalidArgument):
        value.until(3)


def test_tasks_wait_until_it_is_true_and_are_cancelled(value):
    async def main():
        first, second = (asyncio.create_task(value.until_async(lambda found: found == 1)) for _ in range(2))
        await waits_in_a_thread()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        value.store(1)
        assert await asyncio.wait_for(second, SECONDS) == 1
        with pytest.raises(ndshm.Timeout):
            await value.until_async(lambda found: found == 2, timeout=0.01)

    asyncio.run(main())


@languages
@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, "float32", "float64"])
def test_another_process_has_the_same_bits(fresh_name, language, dtype):
    is_float = dtype.startswith("float")
    low, high = (False, True) if dtype == "bool" else (-1.5, 0.25) if is_float else limits(dtype)
    if dtype.endswith("int64"):
        low, high = max(low, -(2**53)), 2**53  # what JSON takes to Node
    value = ndshm.Value(fresh_name("value"), dtype, high, ephemeral=True)
    with peer_with(language, "Value", value.name) as peer:
        assert peer.call("exchange", low) == high
        assert value.load() == low
        assert value.exchange(high) == low
        assert peer.call("load") == high
        assert peer.call("compare_exchange", high, low) == high
        assert value.load() == low
    value.close()


@languages
def test_no_addition_is_lost_among_processes_and_each_waits_for_the_other(value, language):
    with peer_with(language, "Value", value.name) as peer:
        adding = peer.ask("add_often", 2000)
        for _ in range(2000):
            value.add(1)
        assert value.until(lambda found: found == 4000, timeout=SECONDS) == 4000
        assert adding.result(SECONDS) is None
        there = peer.ask("until_at_least", 4001)
        value.add(1)
        assert there.result(SECONDS) == 4001
        here = in_thread(value.until, lambda found: found == 4002)
        peer.call("add", 1)
        assert here.result(SECONDS) == 4002
        assert peer.code("until_at_least", 5000, 0.02) == "ERR_NDSHM_TIMEOUT"


def test_a_killed_process_takes_nothing_with_it(value):
    with peer_with("python", "Value", value.name) as peer:
        peer.ask("until_at_least", 2)
        peer.call("add", 1)
    assert value.add(1) == 1


def test_a_forked_child_adds_for_its_parent(value):
    child = os.fork()
    if child == 0:
        value.add(1)
        os._exit(0)
    assert value.until(lambda found: found == 1, timeout=SECONDS) == 1
    assert os.waitpid(child, 0)[1] == 0


def test_a_closed_one_ends_all_waits(value):
    waiting = in_thread(value.until, lambda found: found == 1)
    value.close()
    assert code_of(waiting) == "ERR_NDSHM_CLOSED"
    for method in (value.load, lambda: value.add(1), lambda: value.store(1), lambda: value.value):
        with pytest.raises(ndshm.Closed):
            method()


def test_an_int_beyond_all_floats_is_refused(fresh_name):
    number = ndshm.Value(fresh_name("value"), "float64", ephemeral=True)
    for method in (number.store, number.add):
        with pytest.raises(ndshm.Error) as raised:
            method(10**400)
        assert raised.value.code == "ERR_NDSHM_OUT_OF_RANGE"
    number.close()


def test_another_dtype_or_kind_is_refused(value, fresh_name):
    for kind in (lambda: ndshm.Value(value.name, "uint32"), lambda: ndshm.Semaphore(value.name)):
        with pytest.raises(ndshm.Error) as raised:
            kind()
        assert raised.value.code == "ERR_NDSHM_MISMATCH"
    same = ndshm.Value(value.name, value=9)
    assert [same.dtype, same.load()] == ["int32", 0]
    same.close()
    for wrong in ("float16", "complex64", "O", "nonsense", 7):
        with pytest.raises(ndshm.Error) as raised:
            ndshm.Value(fresh_name("wrong"), wrong)
        assert raised.value.code == "ERR_NDSHM_DTYPE"
