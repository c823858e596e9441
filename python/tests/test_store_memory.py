"""Where the memory of objects is: not copied, not used again too early, not more than the capacity."""

from __future__ import annotations

import errno
import gc
import os
import threading
from contextlib import suppress

import numpy as np
import pytest

import ndshm
from ndshm import Store
from ndshm.store._extents import Extents
from ndshm.store._reservoir import Reservoir
from ndshm.store._spill import SpillFolder
from stores import MEBIBYTE, existing_bytes, pattern, resident_bytes, segments_of


@pytest.fixture
def store(fresh_name):
    with Store.open(fresh_name("store"), capacity="128MiB") as opened:
        yield opened


def mapping_of(array: np.ndarray) -> str:
    """The line of /proc/self/maps in which an array lies whole."""
    address = array.ctypes.data
    with open("/proc/self/maps") as maps:
        for line in maps:
            start, end = (int(text, 16) for text in line.split()[0].split("-"))
            if start <= address and address + array.nbytes <= end:
                return line
    raise AssertionError("the array lies in no mapping")


def states(store: Store) -> list[str]:
    return sorted(f"{each.state}{', mapped' if each.mapped else ''}" for each in store.list())


def test_what_get_gives_lies_in_the_stores_own_pages(store):
    ref = store.put({"a": np.arange(2**20, dtype=np.float64), "b": pattern(3 * MEBIBYTE)})
    found = store.get(ref)
    for array in found.values():
        line = mapping_of(array)
        assert f"/dev/shm/{store.name}.pages.0" in line
        assert line.split()[1].startswith("r--s")
        assert array.ctypes.data % 4096 == 0


def test_a_get_of_64_mib_takes_no_memory_of_its_own(store):
    ref = store.put(pattern(64 * MEBIBYTE))
    gc.collect()
    anonymous, shared = resident_bytes("RssAnon"), resident_bytes("RssShmem")
    found = store.get(ref)
    assert resident_bytes("RssShmem") - shared < MEBIBYTE
    assert int(found[::4096].sum()) >= 0
    assert resident_bytes("RssAnon") - anonymous < MEBIBYTE


def test_deleted_pages_are_not_used_again_under_a_view(store):
    old = store.put({"part": pattern(8 * MEBIBYTE, 1), "other": pattern(MEBIBYTE)})
    part = store.get(old)["part"][MEBIBYTE:]
    assert states(store) == ["sealed, mapped"]
    assert store.delete(old)
    assert states(store) == ["deleted, mapped"]
    following = store.put(pattern(8 * MEBIBYTE, 2))
    assert np.array_equal(part, pattern(8 * MEBIBYTE, 1)[MEBIBYTE:])
    used = store.stat().used_bytes
    del part
    assert states(store) == ["sealed"]
    third = store.put(pattern(8 * MEBIBYTE, 3))
    assert store.stat().used_bytes == used
    assert np.array_equal(store.get(following), pattern(8 * MEBIBYTE, 2))
    assert np.array_equal(store.get(third), pattern(8 * MEBIBYTE, 3))


def test_each_get_is_a_lease_of_its_own(store):
    ref = store.put(pattern(MEBIBYTE))
    one, two = store.get(ref), store.get(ref)
    store.delete(ref)
    del one
    assert states(store) == ["deleted, mapped"]
    assert np.array_equal(two, pattern(MEBIBYTE))
    del two
    assert states(store) == []


def test_views_hold_no_descriptors(store):
    ref = store.put(pattern(MEBIBYTE))
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    found = [store.get(ref) for _ in range(100)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(found) == 100


def test_what_get_gave_outlives_the_store(fresh_name):
    name = fresh_name()
    with Store.open(name, capacity="8MiB") as store:
        found = store.get(store.put(pattern(MEBIBYTE)))
    assert segments_of(name) == set()
    assert np.array_equal(found, pattern(MEBIBYTE))


# ---- capacity ----


def test_a_put_past_the_capacity_says_who_holds_how_much(fresh_name):
    with Store.open(fresh_name(), capacity="4MiB") as store:
        refs = [store.put(pattern(MEBIBYTE)) for _ in range(3)]
        held = store.get(refs[0])
        for value in (pattern(2 * MEBIBYTE), pattern(8 * MEBIBYTE)):
            with pytest.raises(ndshm.Error, match=rf"process {os.getpid()} put \(1 mapped\)") as raised:
                store.put(value)
            assert raised.value.code == "ERR_NDSHM_CAPACITY"
        with pytest.raises(ndshm.Error) as raised:
            store.create_array(2 * MEBIBYTE, "uint8")
        assert raised.value.code == "ERR_NDSHM_CAPACITY"
        assert len(store.list()) == 3
        store.delete(refs[1])
        store.delete(refs[2])
        store.put(pattern(2 * MEBIBYTE))
        assert np.array_equal(held, pattern(MEBIBYTE))


def test_room_is_made_of_what_only_cycles_of_garbage_hold(fresh_name):
    with Store.open(fresh_name(), capacity="4MiB") as store:
        cycle = [store.get(store.put(pattern(3 * MEBIBYTE)))]
        cycle.append(cycle)
        store.delete(store.list()[0].ref)
        gc.disable()
        try:
            with pytest.raises(ndshm.Error) as raised:
                store.put(pattern(3 * MEBIBYTE))
            assert raised.value.code == "ERR_NDSHM_CAPACITY"
            del cycle
            assert store.get(store.put(pattern(3 * MEBIBYTE, 1)))[0] == pattern(1, 1)[0]
        finally:
            gc.enable()


def test_warm_pages_that_do_not_fit_go_back_to_the_system(fresh_name):
    name = fresh_name()
    with Store.open(name, capacity="8MiB") as store:
        refs = [store.put(pattern(MEBIBYTE)) for _ in range(7)]
        for ref in refs[::2]:
            store.delete(ref)
        large = store.put(pattern(4 * MEBIBYTE))
        assert np.array_equal(store.get(large), pattern(4 * MEBIBYTE))
        stat = store.stat()
        assert stat.used_bytes <= stat.capacity_bytes
        assert existing_bytes(name) == stat.used_bytes


def full_after(fills: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if /dev/shm had room for so many more fills, and then for none until something has been given back."""
    fill, punch = Reservoir.fill, Reservoir.punch
    left = fills

    def filling(self, *arguments):
        nonlocal left
        if left == 0:
            no_room()
        left -= 1
        return fill(self, *arguments)

    def punching(self, *arguments):
        nonlocal left
        left = 1000
        return punch(self, *arguments)

    monkeypatch.setattr(Reservoir, "fill", filling)
    monkeypatch.setattr(Reservoir, "punch", punching)


@pytest.mark.parametrize("put", ["put", "create_array"])
def test_a_full_dev_shm_is_relieved_of_what_nobody_uses(store, monkeypatch, put):
    unused = store.put(pattern(3 * MEBIBYTE))
    kept = store.put(pattern(MEBIBYTE))
    store.delete(unused)
    full_after(0, monkeypatch)
    if put == "put":
        assert np.array_equal(store.get(store.put(pattern(20 * MEBIBYTE, 1))), pattern(20 * MEBIBYTE, 1))
    else:
        store.create_array(20 * MEBIBYTE, "uint8").seal()
    assert np.array_equal(store.get(kept), pattern(MEBIBYTE))
    monkeypatch.undo()
    assert existing_bytes(store.name) == store.stat().used_bytes


def test_a_full_dev_shm_is_an_error_that_leaves_nothing(store, monkeypatch):
    kept = store.put(pattern(MEBIBYTE))
    monkeypatch.setattr(Reservoir, "fill", lambda *_: no_room())
    for call in (lambda: store.put(pattern(20 * MEBIBYTE)), lambda: store.create_array(20 * MEBIBYTE, "uint8")):
        with pytest.raises(OSError, match="not enough room") as raised:
            call()
        assert raised.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert [each.ref for each in store.list()] == [kept]
    assert existing_bytes(store.name) == store.stat().used_bytes


def no_room() -> None:
    raise OSError(errno.ENOSPC, "not enough room")


def test_every_page_is_accounted_for(store):
    refs = [store.put(pattern(length)) for length in (10, 5000, 70_000, MEBIBYTE, 3 * MEBIBYTE + 1)] * 2
    assert existing_bytes(store.name) == store.stat().used_bytes
    for ref in refs:
        store.delete(ref)
    stat = store.stat()
    assert existing_bytes(store.name) == stat.used_bytes
    assert stat.objects == 0


# ---- on disk ----


def test_what_does_not_fit_goes_to_disk_and_comes_back(fresh_name, tmp_path):
    with Store.open(fresh_name(), capacity="4MiB", spill_dir=tmp_path) as store:
        refs = [store.put({"a": pattern(MEBIBYTE, seed), "seed": seed}) for seed in range(8)]
        stat = store.stat()
        assert stat.used_bytes <= stat.capacity_bytes
        assert stat.spilled_objects >= 4
        assert stat.spill_dir is not None
        spilled = {each.ref for each in store.list() if each.state == "spilled"}
        assert refs[0] in spilled
        assert refs[7] not in spilled
        values = [store.get(ref) for ref in refs]
        for seed, value in enumerate(values):
            assert value["seed"] == seed
            assert np.array_equal(value["a"], pattern(MEBIBYTE, seed))
        assert f"{stat.spill_dir}/" in mapping_of(values[0]["a"])
        assert len(os.listdir(stat.spill_dir)) == stat.spilled_objects
        for ref in refs:
            assert store.delete(ref)
        assert os.listdir(stat.spill_dir) == []
        assert np.array_equal(values[0]["a"], pattern(MEBIBYTE, 0))
    assert os.listdir(tmp_path) == []


def test_what_is_mapped_is_not_spilled(fresh_name, tmp_path):
    with Store.open(fresh_name(), capacity="4MiB", spill_dir=tmp_path) as store:
        held = [store.get(store.put(pattern(MEBIBYTE, seed))) for seed in range(3)]
        with pytest.raises(ndshm.Error, match="let go of what is mapped") as raised:
            store.put(pattern(2 * MEBIBYTE))
        assert raised.value.code == "ERR_NDSHM_CAPACITY"
        assert store.stat().spilled_objects == 0
        assert all(np.array_equal(array, pattern(MEBIBYTE, seed)) for seed, array in enumerate(held))


def test_what_is_got_while_it_is_being_spilled_stays_in_memory(fresh_name, tmp_path, monkeypatch):
    with Store.open(fresh_name(), capacity="4MiB", spill_dir=tmp_path) as store:
        refs = [store.put(pattern(MEBIBYTE, seed)) for seed in range(3)]
        write, held = SpillFolder.write, []

        def writing(self, *arguments):
            if not held:
                held.append(store.get(refs[0]))
            return write(self, *arguments)

        monkeypatch.setattr(SpillFolder, "write", writing)
        store.put(pattern(MEBIBYTE, 3))
        assert {each.ref: each.state for each in store.list()}[refs[0]] == "sealed"
        assert np.array_equal(held[0], pattern(MEBIBYTE, 0))
        assert len(os.listdir(store.stat().spill_dir)) == store.stat().spilled_objects == 1


def test_a_file_that_is_gone_or_cut_is_an_error(fresh_name, tmp_path):
    with Store.open(fresh_name(), capacity="2MiB", spill_dir=tmp_path) as store:
        refs = [store.put(pattern(MEBIBYTE, seed)) for seed in range(3)]
        folder = store.stat().spill_dir
        files = {ref: os.path.join(folder, f"{ref.object}.{ref.generation}") for ref in refs}
        held = store.get(refs[0])
        os.truncate(files[refs[0]], 5000)
        assert int(held[-1]) == 0
        with pytest.raises(ndshm.Error) as raised:
            store.get(refs[0])
        assert raised.value.code == "ERR_NDSHM_TRUNCATED"
        os.unlink(files[refs[1]])
        with pytest.raises(ndshm.Error) as raised:
            store.get(refs[1])
        assert raised.value.code == "ERR_NDSHM_CORRUPT_OBJECT"
        assert np.array_equal(store.get(refs[2]), pattern(MEBIBYTE, 2))


def test_a_folder_that_cannot_be_written_is_told(fresh_name, tmp_path):
    with Store.open(fresh_name(), capacity="2MiB", spill_dir=tmp_path) as store:
        first = store.put(pattern(MEBIBYTE))
        folder = store.stat().spill_dir
        os.rename(folder, f"{folder}-elsewhere")
        with pytest.raises(ndshm.Error, match="cannot spill") as raised:
            store.put(pattern(MEBIBYTE))
        assert raised.value.code == "ERR_NDSHM_CAPACITY"
        assert isinstance(raised.value.__cause__, OSError)
        assert np.array_equal(store.get(first), pattern(MEBIBYTE))
        os.rename(f"{folder}-elsewhere", folder)
        assert store.has(store.put(pattern(MEBIBYTE)))


# ---- threads ----


def test_threads_put_get_and_delete_at_the_same_time(store):
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for round_ in range(15):
                value = pattern(100 + 40_000 * (round_ % 4), seed)
                ref = store.put(value)
                assert np.array_equal(store.get(ref), value)
                with store.create_array(1000, "uint8") as draft:
                    draft.array[:] = seed
                    assert store.get(draft.seal()).tolist() == [seed] * 1000
                assert store.delete(ref)
                assert store.delete(draft.ref)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert store.stat().objects == 0
    assert existing_bytes(store.name) == store.stat().used_bytes


def test_a_put_that_is_overtaken_by_close_harms_nobody(fresh_name):
    name = fresh_name()
    with Store.open(name, capacity="64MiB") as other:
        closing = Store.open(name)
        outcomes: list[object] = []
        begun = threading.Event()
        source = pattern(24 * MEBIBYTE, 5)

        def put() -> None:
            try:
                while True:
                    outcomes.append(closing.put(source))
                    begun.set()
                    closing.delete(outcomes[-1])
            except ndshm.Error as error:
                outcomes.append(error.code)

        thread = threading.Thread(target=put)
        thread.start()
        assert begun.wait(30)
        closing.close()
        mine = [other.put(pattern(2 * MEBIBYTE, seed)) for seed in range(20)]
        thread.join(30)
        assert outcomes[-1] == "ERR_NDSHM_CLOSED"
        for seed, ref in enumerate(mine):
            assert np.array_equal(other.get(ref), pattern(2 * MEBIBYTE, seed))
        assert {each.ref for each in other.list()} - set(mine) <= {outcomes[-2]}


# ---- interrupted ----


@pytest.mark.parametrize("where", ["take", "give", "take_warmest"])
def test_an_interrupt_in_the_middle_of_a_step_leaves_the_store_whole(fresh_name, monkeypatch, where):
    """KeyboardInterrupt comes between any two lines."""
    name = fresh_name()
    with Store.open(name, capacity="8MiB") as store:
        kept = [store.put(pattern(MEBIBYTE, seed)) for seed in range(6)]
        doomed = kept.pop()
        step = getattr(Extents, where)
        interrupts = 0

        def interrupted(self, *arguments):
            nonlocal interrupts
            step(self, *arguments)
            interrupts += 1
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Extents, where, interrupted)
            for call in (lambda: store.delete(doomed), lambda: store.put(pattern(3 * MEBIBYTE))):
                with suppress(KeyboardInterrupt, ndshm.Error):
                    call()
        assert interrupts > 0
        for seed, ref in enumerate(kept):
            assert np.array_equal(store.get(ref), pattern(MEBIBYTE, seed))
        following = store.put(pattern(MEBIBYTE, 9))
        assert np.array_equal(store.get(following), pattern(MEBIBYTE, 9))
        for each in store.list():
            if each.state == "sealed":
                store.delete(each.ref)
        stat = store.stat()
        assert stat.used_bytes == existing_bytes(name)
        with Store.open(name) as other:
            assert other.get(other.put("serves")) == "serves"
