"""A Queue, among threads, tasks, and processes in Python and Node."""

from __future__ import annotations

import asyncio
import os
import queue
import struct
from datetime import datetime, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ndshm
from ndshm.codec import to_bytes
from ndshm.sync import QueueEmpty, QueueFull, QueueShutDown
from sync_peer import SECONDS, code_of, eventually, in_thread, languages, peer_with, waits_in_a_thread

SHUT = "ERR_NDSHM_SHUT_DOWN"


@pytest.fixture
def jobs(fresh_name):
    made = ndshm.Queue(fresh_name("queue"), 4, ephemeral=True)
    yield made
    made.close()


def test_gives_what_it_was_given_in_the_same_order(jobs):
    items = [
        1,
        "two",
        None,
        {"deep": [{"er": 2**70}]},
        {1: {"a"}},
        datetime(2026, 1, 1, tzinfo=timezone.utc),
        1.5,
        b"x",
    ]
    for item in items:
        jobs.put(item)
        assert jobs.get() == item
    array = np.arange(6, dtype="<i2").reshape(2, 3)
    jobs.put(array)
    jobs.put_nowait("last")
    assert [jobs.qsize(), jobs.empty(), jobs.full()] == [2, False, False]
    got = jobs.get()
    jobs.put("other")
    assert np.array_equal(got, array)
    assert not got.flags.writeable
    assert [jobs.get_nowait(), jobs.get()] == ["last", "other"]
    assert [jobs.qsize(), jobs.empty()] == [0, True]


def test_waits_for_room_and_for_items(jobs):
    with pytest.raises(queue.Empty) as raised:
        jobs.get_nowait()
    assert isinstance(raised.value, QueueEmpty)
    with pytest.raises(QueueEmpty) as raised:
        jobs.get(timeout=0.02)
    assert raised.value.code == "ERR_NDSHM_TIMEOUT"
    got = in_thread(jobs.get)
    jobs.put("a")
    assert got.result(SECONDS) == "a"
    for item in range(4):
        jobs.put(item)
    assert jobs.full()
    with pytest.raises(queue.Full) as raised:
        jobs.put_nowait(4)
    assert isinstance(raised.value, QueueFull)
    with pytest.raises(QueueFull) as raised:
        jobs.put(4, timeout=0.02)
    assert raised.value.code == "ERR_NDSHM_TIMEOUT"
    put = in_thread(jobs.put, 4)
    assert jobs.get() == 0
    put.result(SECONDS)
    assert [jobs.get() for _ in range(4)] == [1, 2, 3, 4]


def test_refuses_what_it_cannot_hold(fresh_name):
    jobs = ndshm.Queue(fresh_name("queue"), max_bytes=100, ephemeral=True)
    assert [jobs.max_items, jobs.max_bytes] == [4096, 100]
    with pytest.raises(ndshm.InvalidValue) as raised:
        jobs.put(b"x" * 101)
    assert raised.value.code == "ERR_NDSHM_OUT_OF_RANGE"
    with pytest.raises(ndshm.Error) as raised:
        jobs.put(lambda: 1)
    assert raised.value.code == "ERR_NDSHM_INVALID_ARGUMENT"
    assert jobs.empty()
    jobs.close()


@given(st.lists(st.one_of(st.none(), st.text(max_size=60)), max_size=60))
@settings(max_examples=25, deadline=None)
def test_holds_as_many_items_and_bytes_as_it_says_and_forgets_none(steps):
    name = f"ndshm-test-{os.getpid()}-queue"
    jobs = ndshm.Queue(name, 5, 200, ephemeral=True)
    inside = []
    try:
        for text in steps:
            if text is None:
                try:
                    assert jobs.get_nowait() == inside.pop(0)
                except QueueEmpty:
                    assert inside == []
                except IndexError:
                    raise AssertionError("it was empty") from None
                continue
            if len(to_bytes(text)) > 200:
                continue
            fits = len(inside) < 5 and sum(len(to_bytes(each)) for each in [*inside, text]) <= 200
            try:
                jobs.put_nowait(text)
                assert fits
                inside.append(text)
            except QueueFull:
                assert not fits
            assert [jobs.qsize(), jobs.full()] == [len(inside), len(inside) == 5]
    finally:
        jobs.close()


def test_every_item_of_several_threads_goes_to_one_of_several_threads(jobs):
    each = 60

    def produce(producer):
        for n in range(each):
            jobs.put([producer, n, "x" * (n * 7 % 90)], timeout=SECONDS)

    consumers = [in_thread(list, jobs) for _ in range(2)]
    producers = [in_thread(produce, producer) for producer in range(2)]
    for producer in producers:
        producer.result(SECONDS)
    jobs.shutdown()
    got = [consumer.result(SECONDS) for consumer in consumers]
    assert sorted(item[:2] for items in got for item in items) == [[p, n] for p in range(2) for n in range(each)]
    for items in got:
        for producer in range(2):
            own = [n for p, n, _ in items if p == producer]
            assert own == sorted(own)


def test_tasks_put_and_get_in_the_order_of_their_calls(fresh_name):
    jobs = ndshm.Queue(fresh_name("queue"), 2, ephemeral=True)

    async def main():
        puts = [asyncio.create_task(jobs.put_async(n)) for n in range(8)]
        await asyncio.sleep(0)
        gets = [asyncio.create_task(jobs.get_async()) for _ in range(8)]
        await asyncio.wait_for(asyncio.gather(*puts), SECONDS)
        return await asyncio.wait_for(asyncio.gather(*gets), SECONDS)

    assert asyncio.run(main()) == list(range(8))
    jobs.close()


def test_a_large_item_is_not_overtaken_unless_it_gives_up(fresh_name):
    jobs = ndshm.Queue(fresh_name("queue"), max_bytes=400, ephemeral=True)

    async def main():
        await jobs.put_async(b"a" * 200)
        large, small = asyncio.create_task(jobs.put_async(b"b" * 300)), asyncio.create_task(jobs.put_async("c"))
        await waits_in_a_thread()
        assert jobs.qsize() == 1
        assert await jobs.get_async() == b"a" * 200
        await asyncio.wait_for(asyncio.gather(large, small), SECONDS)
        assert [jobs.get(), jobs.get()] == [b"b" * 300, "c"]
        await jobs.put_async(b"a" * 200)
        late = asyncio.create_task(jobs.put_async(b"b" * 300, timeout=0.02))
        small = asyncio.create_task(jobs.put_async("c"))
        with pytest.raises(QueueFull):
            await late
        await asyncio.wait_for(small, SECONDS)

    asyncio.run(main())
    assert jobs.qsize() == 2
    jobs.close()


def test_a_cancelled_task_has_neither_put_nor_taken(jobs):
    async def main():
        first, second = asyncio.create_task(jobs.get_async()), asyncio.create_task(jobs.get_async())
        await waits_in_a_thread()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        jobs.put("a")
        assert await asyncio.wait_for(second, SECONDS) == "a"
        for n in range(4):
            jobs.put(n)
        put = asyncio.create_task(jobs.put_async("late"))
        await waits_in_a_thread()
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        jobs.shutdown()
        return [item async for item in jobs]

    assert asyncio.run(main()) == [0, 1, 2, 3]


def test_shutdown_lets_the_rest_be_taken(jobs):
    jobs.put("rest")
    getting = [in_thread(jobs.get) for _ in range(3)]
    eventually(jobs.empty)
    assert not jobs.is_shutdown
    jobs.shutdown()
    assert jobs.is_shutdown
    assert sorted(str(code_of(each)) for each in getting) == [SHUT, SHUT, "None"]
    for method in (lambda: jobs.put(1), lambda: jobs.put_nowait(1), jobs.get, jobs.get_nowait):
        with pytest.raises(QueueShutDown) as raised:
            method()
        assert raised.value.code == SHUT
    assert list(jobs) == []


@languages
def test_another_process_has_the_same_queue(jobs, language):
    with peer_with(language, "Queue", jobs.name) as peer:
        getting = peer.ask("get")
        jobs.put({"task": "resize", "size": [640, 480]})
        assert getting.result(SECONDS) == {"task": "resize", "size": [640, 480]}
        getting = in_thread(jobs.get)
        peer.call("put", ["ä", 1.5, None, True])
        assert getting.result(SECONDS) == ["ä", 1.5, None, True]
        for item in range(4):
            jobs.put(item)
        assert peer.call("qsize") == 4
        assert peer.code("put", 4, 0.02) == "ERR_NDSHM_TIMEOUT"
        putting = peer.ask("put", 4)
        assert jobs.get() == 0
        assert putting.result(SECONDS) is None or putting.result() is True
        assert [peer.call("get") for _ in range(4)] == [1, 2, 3, 4]
        assert peer.code("get", 0.02) == "ERR_NDSHM_TIMEOUT"
        peer.call("shutdown")
        assert code_of(in_thread(jobs.get)) == SHUT
        assert peer.code("put", 1) == SHUT


@languages
def test_items_of_both_languages_go_to_both(jobs, language):
    here, there = [[f"{side}{n}", "x" * (n * 7 % 90)] for side in "ht" for n in range(150)], None
    here, there = here[:150], here[150:]
    with peer_with(language, "Queue", jobs.name) as producer, peer_with("node", "Queue", jobs.name) as consumer:
        putting = producer.ask("put_all", there)
        taking = consumer.ask("get_all")
        mine = in_thread(list, jobs)
        for item in here:
            jobs.put(item, timeout=SECONDS)
        putting.result(SECONDS)
        jobs.shutdown()
        got = [taking.result(SECONDS), mine.result(SECONDS)]
    assert sorted(item for items in got for item in items) == sorted([*here, *there])
    for items in got:
        for side in "ht":
            own = [int(item[0][1:]) for item in items if item[0][0] == side]
            assert own == sorted(own)


@languages
def test_a_killed_process_has_taken_nothing_that_it_waited_for(jobs, language):
    with peer_with(language, "Queue", jobs.name) as peer:
        peer.ask("get")
        peer.call("qsize")
    jobs.put("mine")
    assert jobs.get(timeout=SECONDS) == "mine"


def test_a_forked_child_puts_for_its_parent(jobs):
    child = os.fork()
    if child == 0:
        jobs.put("from the child")
        os._exit(0)
    assert jobs.get(timeout=SECONDS) == "from the child"
    assert os.waitpid(child, 0)[1] == 0


def test_a_closed_one_ends_all_waits(jobs):
    getting = in_thread(jobs.get)
    jobs.close()
    assert code_of(getting) == "ERR_NDSHM_CLOSED"
    for method in (lambda: jobs.put(1), jobs.get, jobs.qsize, jobs.shutdown, lambda: list(jobs)):
        with pytest.raises(ndshm.Closed):
            method()


def test_a_task_whose_queue_is_closed_is_told_and_so_are_those_behind_it(jobs):
    async def main():
        tasks = [asyncio.create_task(jobs.get_async()) for _ in range(3)]
        await waits_in_a_thread()
        jobs.close()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), SECONDS)

    assert [each.code for each in asyncio.run(main())] == ["ERR_NDSHM_CLOSED"] * 3


def test_words_that_make_no_sense_are_reported(jobs):
    jobs.put("a")
    words = jobs._state.words
    for word, value in ((0, 99), (1, 99), (3, 2**31), (4, 0)):
        before = words[word]
        words.store(word, value)
        with pytest.raises(ndshm.Error) as raised:
            jobs.get(timeout=0)
        assert raised.value.code == "ERR_NDSHM_CONTROL_CORRUPT"
        words.store(word, before)
    assert jobs.get() == "a"


@pytest.mark.parametrize(
    "items, words, of_bytes",
    [(2**24, 3 + 2 * 4, 2**20), (4, 3 + 2 * 4, 2**24), (0, 3, 2**20), (4, 3 + 2 * 4, 0), (-1, 1, 2**20), (4, 9, 2**20)],
)
def test_a_size_that_it_has_not_is_reported(jobs, items, words, of_bytes):
    with open(f"/dev/shm/{jobs.name}", "r+b") as file:
        file.seek(4096 + 4 * 6)
        file.write(struct.pack("<IIii", words, 0, items, of_bytes))
    with pytest.raises(ndshm.Error) as raised:
        ndshm.Queue(jobs.name)
    assert raised.value.code == "ERR_NDSHM_CONTROL_CORRUPT"


def test_other_options_or_another_kind_are_refused(jobs, fresh_name):
    for kind in (
        lambda: ndshm.Queue(jobs.name, 5),
        lambda: ndshm.Queue(jobs.name, 4, 99),
        lambda: ndshm.Event(jobs.name),
    ):
        with pytest.raises(ndshm.Error) as raised:
            kind()
        assert raised.value.code == "ERR_NDSHM_MISMATCH"
    ndshm.Queue(jobs.name, 4, 2**20).close()
    for wrong in (0, "4", 2**24 + 1):
        with pytest.raises(ndshm.Error):
            ndshm.Queue(fresh_name("wrong"), wrong)
