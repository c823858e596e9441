"""A store in one process: what goes in comes out, and what is said about it."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from datetime import datetime, timezone

import numpy as np
import pytest

import ndshm
from ndshm import ObjectRef, Store
from stores import MEBIBYTE, pattern, segments_of


@pytest.fixture
def store(fresh_name):
    with Store.open(fresh_name("store"), capacity="64MiB") as opened:
        yield opened


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        2**70,
        0.5,
        "text ä",
        b"bytes",
        [1, [2, None]],
        {"a": 1, "b": {"c": [1.5]}},
        {1: "one", (1, 2)[0] + 1: "two"},
        datetime(2020, 1, 2, tzinfo=timezone.utc),
        {"x": "y" * 100_000},
    ],
)
def test_a_value_comes_back_as_it_was(store, value):
    assert store.get(store.put(value)) == value


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65_536, 65_537, MEBIBYTE - 1, MEBIBYTE, 9 * MEBIBYTE + 5])
def test_an_array_of_any_size_comes_back_as_it_was(store, length):
    array = pattern(length)
    found = store.get(store.put({"a": array, "b": array[: length // 2], "n": 1}))
    assert np.array_equal(found["a"], array)
    assert np.array_equal(found["b"], array[: length // 2])
    assert found["n"] == 1


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(3, 5), (300, 500), (), (0, 4)])
def test_shape_dtype_and_order_stay(store, shape, order):
    array = np.asarray(np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape), order=order)
    found = store.get(store.put(array))
    assert (found.shape, found.dtype, found.flags.f_contiguous) == (shape, np.float32, array.flags.f_contiguous)
    assert np.array_equal(found, array)


def test_warm_pages_are_used_again(store):
    big = pattern(4 * MEBIBYTE, 1)
    first = store.put(big)
    used = store.stat().used_bytes
    store.delete(first)
    assert store.stat().ready_bytes >= 4 * MEBIBYTE
    second = store.put(pattern(4 * MEBIBYTE, 2))
    assert store.stat().used_bytes == used
    assert np.array_equal(store.get(second), pattern(4 * MEBIBYTE, 2))


@pytest.mark.parametrize("length", [10, MEBIBYTE])
def test_what_was_deleted_is_gone_once(store, length):
    ref = store.put(pattern(length))
    assert store.has(ref)
    assert [store.delete(ref), store.delete(ref), store.has(ref)] == [True, False, False]
    with pytest.raises(ndshm.Error) as raised:
        store.get(ref)
    assert raised.value.code == "ERR_NDSHM_STALE_HANDLE"
    again = store.put(pattern(length))
    assert (again.object, again.generation) == (ref.object, ref.generation + 1)
    assert not store.has(ref)


def test_many_small_objects_grow_the_slabs(store):
    refs = [store.put({"n": n}) for n in range(3000)]
    assert len(store.list()) == 3000
    assert [store.get(ref)["n"] for ref in refs] == list(range(3000))
    for ref in refs:
        assert store.delete(ref)
    assert store.stat().objects == 0


def test_arrays_are_read_only(store):
    for length in (10, MEBIBYTE):
        found = store.get(store.put(pattern(length)))
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            found.flags.writeable = True


def test_what_cannot_be_encoded_leaves_nothing(store):
    with pytest.raises(ndshm.Error) as raised:
        store.put({"a": [1, print]})
    assert raised.value.code == "ERR_NDSHM_INVALID_ARGUMENT"
    assert store.list() == []


# ---- refs ----


def test_a_ref_is_a_value(store):
    ref = store.put(1)
    assert pickle.loads(pickle.dumps(ref)) == ref
    assert ObjectRef.from_json(ref.to_json()) == ref
    assert ObjectRef.from_json(json.loads(ref.to_json())) == ref
    assert {ref: 1}[ObjectRef.from_json(ref.to_json())] == 1
    assert json.loads(ref.to_json()) == {
        "ndshm": 1,
        "store": store.name,
        "storeId": store.stat().id,
        "object": ref.object,
        "generation": ref.generation,
    }
    assert store.get(json.loads(ref.to_json())) == 1
    with pytest.raises(AttributeError):
        ref.object = 2


def test_a_ref_of_another_form_is_refused(store):
    good = json.loads(store.put(1).to_json())
    numbers = [-1, 2**31, 1.5, float("nan"), "0", None, True, [0]]
    wrong = [None, 0, "", "ref", "{}", "[", [], {}, {**good, "ndshm": 2}, {**good, "ndshm": True}]
    wrong += [{**good, "store": 1}, {**good, "storeId": None}]
    wrong += [{**good, key: number} for key in ("object", "generation") for number in numbers]
    for each in wrong:
        for call in (store.get, store.has, store.delete, lambda ref: store.wait([ref])):
            with pytest.raises(ndshm.Error) as raised:
                call(each)
            assert raised.value.code == "ERR_NDSHM_INVALID_ARGUMENT"


def test_a_ref_that_names_no_object_is_stale(store):
    for real in (store.put("value"), store.put(pattern(100_000))):
        for number in (1, 1023, 1024, 131_071, 131_072, 2**24, 2**28, 2**31 - 1):
            for ref in (
                ObjectRef(real.store, real.store_id, number, 7),
                ObjectRef(real.store, real.store_id, real.object, number + real.generation),
            ):
                if ref.generation > 2**31 - 1:
                    continue
                assert [store.has(ref), store.delete(ref)] == [False, False]
                assert store.wait([ref]) == ([ref], [])
                with pytest.raises(ndshm.Error) as raised:
                    store.get(ref)
                assert raised.value.code == "ERR_NDSHM_STALE_HANDLE"
        assert store.has(real)


def test_a_ref_of_another_store_or_of_an_earlier_one_is_stale(store, fresh_name):
    name = fresh_name("other")
    with Store.open(name, capacity="2MiB") as other:
        foreign = other.put("value")
        for call in (store.get, store.has, store.delete, lambda ref: store.wait([ref])):
            with pytest.raises(ndshm.Error, match=name) as raised:
                call(foreign)
            assert raised.value.code == "ERR_NDSHM_STALE_HANDLE"
    with Store.open(name, capacity="2MiB") as following, pytest.raises(ndshm.Error, match="earlier store"):
        following.get(foreign)


# ---- drafts ----


def test_a_draft_is_an_object_once_it_is_sealed(store):
    draft = store.create_array((300, 400), "float32", order="F")
    assert (draft.array.shape, draft.array.dtype, draft.array.flags.f_contiguous) == ((300, 400), np.float32, True)
    assert [each.state for each in store.list()] == ["making"]
    with pytest.raises(ndshm.Error) as raised:
        store.get(draft.ref)
    assert raised.value.code == "ERR_NDSHM_NOT_SEALED"
    with pytest.raises(ndshm.Error) as raised:
        store.delete(draft.ref)
    assert raised.value.code == "ERR_NDSHM_NOT_SEALED"
    draft.array[:] = np.arange(120_000).reshape(300, 400)
    assert draft.seal() == draft.ref
    found = store.get(draft.ref)
    assert np.array_equal(found, np.arange(120_000).reshape(300, 400))
    assert found.flags.f_contiguous


def test_what_is_stored_after_the_seal_reaches_nobody(store):
    draft = store.create_array(100_000, "uint8")
    array, view = draft.array, draft.array[10:]
    array[:] = 1
    draft.seal()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 2
    view[:] = 2
    assert store.get(draft.ref).tolist() == [1] * 100_000
    assert view[0] == 2


def test_a_draft_that_is_closed_is_gone(store):
    with store.create_array(MEBIBYTE, "uint8") as draft:
        assert len(store.list()) == 1
    assert not store.has(draft.ref)
    draft.close()
    with pytest.raises(ndshm.Error) as raised:
        draft.seal()
    assert raised.value.code == "ERR_NDSHM_CLOSED"
    ref = draft.ref
    del draft
    assert store.list() == []
    assert store.wait([ref]) == ([ref], [])


def test_a_draft_is_sealed_once(store):
    draft = store.create_array(3, "int64")
    draft.array[:] = [1, 2, 3]
    draft.seal()
    draft.close()
    assert store.get(draft.ref).tolist() == [1, 2, 3]
    with pytest.raises(ndshm.Error, match="sealed before") as raised:
        draft.seal()
    assert raised.value.code == "ERR_NDSHM_CLOSED"


@pytest.mark.parametrize(
    ("shape", "dtype", "order", "code"),
    [
        (-1, "int8", "C", "ERR_NDSHM_SHAPE"),
        ((2, 1.5), "int8", "C", "ERR_NDSHM_INVALID_ARGUMENT"),
        (3, "object", "C", "ERR_NDSHM_DTYPE"),
        (2**40, "int8", "C", "ERR_NDSHM_CAPACITY"),
    ],
)
def test_a_draft_that_cannot_be_is_refused(store, shape, dtype, order, code):
    with pytest.raises(ndshm.Error) as raised:
        store.create_array(shape, dtype, order=order)
    assert raised.value.code == code
    assert store.list() == []


def test_the_draft_of_an_empty_array_is_an_object(store):
    for shape in (0, (0, 5), ()):
        draft = store.create_array(shape, "float64")
        assert store.get(draft.seal()).shape == np.empty(shape).shape


# ---- waiting ----


def test_wait_ends_when_enough_are_sealed(store):
    drafts = [store.create_array(10, "uint8") for _ in range(3)]
    refs = [draft.ref for draft in drafts]
    sealed = threading.Event()

    def seal() -> None:
        drafts[1].seal()
        sealed.set()

    thread = threading.Thread(target=seal)
    thread.start()
    assert store.wait(refs, num_returns=1, timeout=20) == ([refs[1]], [refs[0], refs[2]])
    assert sealed.wait(20)
    thread.join(20)
    drafts[0].seal()
    drafts[2].close()
    assert store.wait(refs, timeout=20) == (refs, [])


@pytest.mark.parametrize("how", ["seal", "close"])
def test_whoever_waits_is_told_of_the_end_of_a_draft(store, how):
    attachment = store._heap.state.attachment
    draft = store.create_array(10, "uint8")
    signal = attachment.arm()
    assert attachment.await_change(signal, [], timeout=0) == 0
    getattr(draft, how)()
    assert attachment.await_change(signal, [], timeout=0) == 1


def test_wait_gives_what_is_ready_when_the_time_is_up(store):
    draft = store.create_array(10, "uint8")
    ready = store.put(1)
    assert store.wait([draft.ref, ready], timeout=0) == ([ready], [draft.ref])
    assert store.wait([draft.ref, ready], timeout=0.02) == ([ready], [draft.ref])
    assert store.wait([], timeout=0) == ([], [])
    draft.close()


def test_wait_refuses_what_makes_no_sense(store):
    ref = store.put(1)
    for count in (-1, 2):
        with pytest.raises(ndshm.Error) as raised:
            store.wait([ref], num_returns=count)
        assert raised.value.code == "ERR_NDSHM_OUT_OF_RANGE"
    for wrong in ({"num_returns": 1.5}, {"timeout": "1"}):
        with pytest.raises(ndshm.Error) as raised:
            store.wait([ref], **wrong)
        assert raised.value.code == "ERR_NDSHM_INVALID_ARGUMENT"
    with pytest.raises(ndshm.Error) as raised:
        store.wait(ref)
    assert raised.value.code == "ERR_NDSHM_INVALID_ARGUMENT"


def test_wait_ends_when_the_store_is_closed(store):
    draft = store.create_array(10, "uint8")
    begun, outcome = threading.Event(), []

    def wait() -> None:
        begun.set()
        try:
            outcome.append(store.wait([draft.ref], timeout=20))
        except ndshm.Error as error:
            outcome.append(error.code)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(20)
    store.close()
    thread.join(20)
    assert outcome == ["ERR_NDSHM_CLOSED"]


def test_the_async_twins(store):
    async def main() -> None:
        large, small = await asyncio.gather(store.put_async(pattern(9 * MEBIBYTE)), store.put_async("small"))
        assert np.array_equal(store.get(large), pattern(9 * MEBIBYTE))
        assert store.get(small) == "small"
        draft = store.create_array(10, "uint8")
        waiting = asyncio.create_task(store.wait_async([draft.ref, small], num_returns=2, timeout=20))
        assert await store.wait_async([draft.ref, small], num_returns=1) == ([small], [draft.ref])
        draft.seal()
        assert await waiting == ([draft.ref, small], [])

    asyncio.run(main())


def test_a_put_whose_task_is_cancelled_leaves_nothing(store):
    async def main() -> None:
        task = asyncio.create_task(store.put_async(pattern(32 * MEBIBYTE)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert store.list() == []


def test_a_wait_whose_task_is_cancelled_ends(store):
    draft = store.create_array(10, "uint8")

    async def main() -> None:
        task = asyncio.create_task(store.wait_async([draft.ref]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)

    asyncio.run(main())
    draft.close()


# ---- the store itself ----


def test_list_and_stat_say_what_there_is(store):
    large = store.put(pattern(MEBIBYTE))
    small = store.put("small")
    held = store.get(large)
    infos = {each.ref: each for each in store.list()}
    assert {ref: (each.state, each.mapped) for ref, each in infos.items()} == {
        large: ("sealed", True),
        small: ("sealed", False),
    }
    assert abs((infos[small].created_at - datetime.now(timezone.utc)).total_seconds()) < 60
    stat = store.stat()
    assert (stat.name, stat.capacity_bytes, stat.objects) == (store.name, 64 * MEBIBYTE, 2)
    assert stat.object_bytes == sum(each.byte_length for each in infos.values())
    assert (stat.spilled_objects, stat.spilled_bytes, stat.spill_dir) == (0, 0, None)
    del held
    assert [each.mapped for each in store.list()] == [False, False]


def test_a_long_list_lets_others_do_something_in_between(store, monkeypatch):
    monkeypatch.setattr("ndshm.store.store._LISTED_AT_ONCE", 10)
    refs = [store.put(n) for n in range(25)]
    heap = store._heap
    stays, locked = [], heap.locked

    def counted():
        stays.append(1)
        if len(stays) == 3:
            store.delete(refs[-1])
        return locked()

    monkeypatch.setattr(heap, "locked", counted)
    assert {each.ref for each in store.list()} == set(refs[:-1])
    assert len(stays) == 1 + 1 + 3  # one of delete(), one to reclaim


def test_after_close_every_call_says_so(fresh_name):
    store = Store.open(fresh_name(), capacity="4MiB")
    ref = store.put(1)
    held = store.get(store.put(pattern(100_000)))
    draft = store.create_array(10, "uint8")
    store.close()
    store.close()
    assert store.closed
    calls = [
        lambda: store.put(1),
        lambda: store.put(pattern(100_000)),
        lambda: store.create_array(1),
        lambda: store.get(ref),
        lambda: store.has(ref),
        lambda: store.delete(ref),
        lambda: store.wait([ref]),
        store.list,
        store.stat,
        store.unlink,
        draft.seal,
    ]
    for call in calls:
        with pytest.raises(ndshm.Error) as raised:
            call()
        assert raised.value.code == "ERR_NDSHM_CLOSED"
    draft.close()
    assert np.array_equal(held, pattern(100_000))


def test_the_last_one_to_close_takes_it_away(fresh_name):
    name = fresh_name()
    first, second = Store.open(name, capacity="4MiB"), Store.open(name)
    ref = first.put("value")
    assert segments_of(name) == {name, f"{name}.pages.0"}
    first.close()
    assert second.get(ref) == "value"
    second.close()
    assert segments_of(name) == set()


def test_unlink_ends_it_for_everybody(fresh_name):
    name = fresh_name()
    first, second = Store.open(name, capacity="4MiB"), Store.open(name)
    held = second.get(first.put(pattern(100_000)))
    first.unlink()
    with pytest.raises(ndshm.Error, match="unlinked") as raised:
        second.put(1)
    assert raised.value.code == "ERR_NDSHM_CLOSED"
    assert np.array_equal(held, pattern(100_000))
    with Store.open(name, capacity="4MiB") as following:
        assert following.list() == []
        first.close()
        second.close()
        assert following.get(following.put(1)) == 1
    assert segments_of(name) == set()


def test_options_have_to_agree(fresh_name, tmp_path):
    name = fresh_name()
    with Store.open(name, capacity="4MiB", spill_dir=tmp_path):
        Store.open(name, capacity=4 * MEBIBYTE, spill_dir=str(tmp_path)).close()
        Store.open(name).close()
        for wrong in ({"capacity": "8MiB"}, {"spill_dir": tmp_path / "other"}):
            with pytest.raises(ndshm.Error) as raised:
                Store.open(name, **wrong)
            assert raised.value.code == "ERR_NDSHM_MISMATCH"
        with pytest.raises(ndshm.Error) as raised:
            ndshm.ArrayTable.open(name)
        assert raised.value.code == "ERR_NDSHM_MISMATCH"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"capacity": 0}, "ERR_NDSHM_OUT_OF_RANGE"),
        ({"capacity": "1 parsec"}, "ERR_NDSHM_OUT_OF_RANGE"),
        ({"capacity": "2TiB"}, "ERR_NDSHM_OUT_OF_RANGE"),
        ({"capacity": 1.5}, "ERR_NDSHM_INVALID_ARGUMENT"),
        ({"spill_dir": 7}, "ERR_NDSHM_INVALID_ARGUMENT"),
        ({"allow_foreign_owner": 1}, "ERR_NDSHM_INVALID_ARGUMENT"),
    ],
)
def test_options_of_the_wrong_kind_are_refused(fresh_name, options, code):
    name = fresh_name()
    with pytest.raises(ndshm.Error) as raised:
        Store.open(name, **options)
    assert raised.value.code == code
    assert segments_of(name) == set()


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "x" * 250, None])
def test_a_bad_name_is_refused(name):
    with pytest.raises(ndshm.Error) as raised:
        Store.open(name)
    assert raised.value.code in ("ERR_NDSHM_INVALID_NAME", "ERR_NDSHM_INVALID_ARGUMENT")
