"""Stores and forked children: each is a peer of its own, and what it dies with is nobody's."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import ndshm
from ndshm import ObjectRef, Store
from peer import ROOT
from stores import MEBIBYTE, existing_bytes, forked, pattern, segments_of


@pytest.fixture
def store(fresh_name):
    with Store.open(fresh_name("store"), capacity="64MiB") as opened:
        yield opened


def states(store: Store) -> list[str]:
    return sorted(f"{each.state}{', mapped' if each.mapped else ''}" for each in store.list())


def test_a_forked_child_goes_on_with_the_store(store):
    mine = store.put(pattern(MEBIBYTE))

    def child(say, wait):
        assert np.array_equal(store.get(mine), pattern(MEBIBYTE))
        say(store.put(pattern(MEBIBYTE, 1)).to_json())
        say(store.put("small").to_json())
        wait()
        store.close()

    with forked(child) as it:
        large, small = ObjectRef.from_json(it.line()), ObjectRef.from_json(it.line())
        assert np.array_equal(store.get(large), pattern(MEBIBYTE, 1))
        assert store.get(small) == "small"
        assert {each.pid for each in store.list()} == {os.getpid(), it.pid}
        it.go()
    assert store.get(small) == "small"
    assert existing_bytes(store.name) == store.stat().used_bytes


def test_a_child_does_not_wait_for_a_thread_that_only_its_parent_has(store):
    inside, over = threading.Event(), threading.Event()

    def store_into_it() -> None:
        with store._heap.writing():
            inside.set()
            assert over.wait(60)

    thread = threading.Thread(target=store_into_it)
    thread.start()
    assert inside.wait(30)
    with forked(lambda say, wait: say(store.get(store.put("alone")))) as it:
        assert it.line() == "alone"
    over.set()
    thread.join(30)


def test_a_view_that_a_child_inherited_is_a_lease_of_its_own(store):
    ref = store.put(pattern(4 * MEBIBYTE))
    views = [store.get(ref)]

    def child(say, wait):
        wait()
        assert np.array_equal(views[0], pattern(4 * MEBIBYTE))
        say("whole")
        wait()

    with forked(child) as it:
        store.delete(ref)
        views.clear()
        assert states(store) == ["deleted, mapped"]
        others = [store.put(pattern(4 * MEBIBYTE, seed)) for seed in (1, 2)]
        it.go()
        assert it.line() == "whole"
        for other in others:
            store.delete(other)
        it.go()
    assert states(store) == []


def test_a_child_does_not_let_go_of_what_its_parent_has(store):
    ref = store.put(pattern(MEBIBYTE))
    view = store.get(ref)
    draft = store.create_array(1000, "uint8")

    def child(say, wait):
        nonlocal view
        del view
        for call in (draft.seal, draft.seal):
            with pytest.raises(ndshm.Error) as raised:
                call()
            assert raised.value.code == "ERR_NDSHM_CLOSED"
        draft.close()
        store.close()
        say("done")

    with forked(child) as it:
        assert it.line() == "done"
    store.delete(ref)
    assert states(store) == ["deleted, mapped", "making, mapped"]
    assert np.array_equal(view, pattern(MEBIBYTE))
    draft.array[:] = 7
    assert store.get(draft.seal())[0] == 7


@pytest.mark.parametrize("how", ["closes it", "is killed"])
def test_what_a_child_was_making_goes_with_it(store, how):
    def child(say, wait):
        say(store.create_array(100_000, "uint8").ref.to_json())
        wait()
        store.close()

    with forked(child) as it:
        ref = ObjectRef.from_json(it.line())
        with pytest.raises(ndshm.Error) as raised:
            store.get(ref)
        assert raised.value.code == "ERR_NDSHM_NOT_SEALED"
        if how == "is killed":
            it.kill()
            assert store.wait([ref], timeout=30) == ([ref], [])
        else:
            it.go()
            assert store.wait([ref], timeout=30) == ([ref], [])
    with pytest.raises(ndshm.Error) as raised:
        store.get(ref)
    assert raised.value.code == "ERR_NDSHM_STALE_HANDLE"
    assert store.delete(ref) is False or how == "is killed"
    assert states(store) == []
    assert existing_bytes(store.name) == store.stat().used_bytes


def test_a_store_whose_last_process_was_killed_is_made_anew(fresh_name, tmp_path):
    name = fresh_name()

    def child(say, wait):
        store = Store.open(name, capacity="2MiB", spill_dir=tmp_path)
        say(store.put(pattern(MEBIBYTE)).to_json())
        say(store.put(pattern(MEBIBYTE)).to_json())
        wait()

    with forked(child) as it:
        ref = ObjectRef.from_json(it.line())
        it.line()
        assert segments_of(name) == {name, f"{name}.pages.0", f"{name}.spill.0"}
        it.kill()
    assert len(os.listdir(tmp_path)) == 1
    with Store.open(name, capacity="4MiB") as store:
        assert store.list() == []
        assert os.listdir(tmp_path) == []
        with pytest.raises(ndshm.Error, match="earlier store"):
            store.get(ref)
    assert segments_of(name) == set()


@pytest.mark.parametrize("where", ["here", "in a process that has no stores"])
def test_gc_takes_a_dead_store_away_with_its_folder(fresh_name, tmp_path, where):
    name = fresh_name()

    def child(say, wait):
        store = Store.open(name, capacity="2MiB", spill_dir=tmp_path)
        for seed in range(3):
            store.put(pattern(MEBIBYTE, seed))
        say("full")
        wait()

    with forked(child) as it:
        assert it.line() == "full"
        it.kill()
    if where == "here":
        assert name in ndshm.gc()
    else:
        subprocess.run([sys.executable, "-c", "import ndshm; ndshm.gc()"], cwd=ROOT / "python", check=True, timeout=60)
    assert segments_of(name) == set()
    assert os.listdir(tmp_path) == []


def _double(name: str, ref: ObjectRef) -> ObjectRef:
    with Store.open(name) as store:
        return store.put(store.get(ref) * 2)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_refs_go_through_the_pools_of_multiprocessing(store, method):
    ref = store.put(np.arange(100_000, dtype=np.int64))
    with multiprocessing.get_context(method).Pool(1) as pool:
        doubled = pool.apply_async(_double, (store.name, ref)).get(timeout=60)
    assert np.array_equal(store.get(doubled), np.arange(100_000) * 2)
