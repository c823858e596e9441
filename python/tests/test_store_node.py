"""Node and Python use one store: either puts, either gets, either deletes."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import ndshm
from ndshm import ObjectRef, Store
from node import Node
from peer import PeerError
from stores import MEBIBYTE, existing_bytes, pattern, segments_of

JS_PATTERN = """
kept.pattern = (length, seed) => {
  const bytes = new Uint8Array(length);
  for (let n = 0; n < length; n++) bytes[n] = (Math.imul(n % 65537, 2654435761) >>> 20) + seed;
  return bytes;
};
kept.isPattern = (array, length, seed) =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength).equals(kept.pattern(length, seed));
"""


@pytest.fixture
def store(fresh_name):
    with Store.open(fresh_name("store"), capacity="64MiB") as opened:
        yield opened


@pytest.fixture
def node(store):
    with Node(f"{JS_PATTERN} kept.store = ndshm.Store.open(name);", name=store.name) as running:
        yield running


def states(store: Store) -> list[str]:
    return sorted(f"{each.state}{', mapped' if each.mapped else ''}" for each in store.list())


def ref_of(found: object) -> ObjectRef:
    return ObjectRef.from_json(json.dumps(found))


@pytest.mark.parametrize("length", [0, 100, 65_000, 70_000, MEBIBYTE, 9 * MEBIBYTE + 5])
def test_what_one_puts_the_other_gets(store, node, length):
    mine = store.put({"a": pattern(length, 1), "n": 7})
    code = "const v = kept.store.get(ref); return [v.n, v.a.size, kept.isPattern(v.a.data, length, 1)];"
    assert node.run(code, ref=json.loads(mine.to_json()), length=length) == [7, length, True]
    theirs = ref_of(node.run("return kept.store.put({ a: kept.pattern(length, 2), n: 8 });", length=length))
    found = store.get(theirs)
    assert found["n"] == 8
    assert np.array_equal(found["a"], pattern(length, 2))
    assert node.run("return kept.store.delete(ref);", ref=json.loads(mine.to_json())) is True
    assert store.delete(theirs)
    assert node.run("return kept.store.has(ref);", ref=json.loads(theirs.to_json())) is False
    with pytest.raises(ndshm.Error) as raised:
        store.get(mine)
    assert raised.value.code == "ERR_NDSHM_STALE_HANDLE"


def test_both_say_the_same_of_it(store, node):
    store.put("small")
    held = store.get(store.put(pattern(MEBIBYTE)))
    node.run("return kept.store.put(kept.pattern(2 ** 21, 3));")
    mine, theirs = store.stat(), node.run("return kept.store.stat();")
    for key, value in theirs.items():
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
        assert getattr(mine, name) == value, key
    listed = node.run("return kept.store.list();")
    assert {
        (each["ref"]["object"], each["state"], each["byteLength"], each["mapped"], each["pid"]) for each in listed
    } == {(each.ref.object, each.state, each.byte_length, each.mapped, each.pid) for each in store.list()}
    assert held.nbytes == MEBIBYTE


def test_neither_uses_pages_that_the_other_reads(store, node):
    mine = store.put(pattern(4 * MEBIBYTE, 1))
    json_ref = json.loads(mine.to_json())
    node.run("kept.lease = kept.store.lease(ref);", ref=json_ref)
    assert store.delete(mine)
    assert states(store) == ["deleted, mapped"]
    store.put(pattern(4 * MEBIBYTE, 2))
    is_whole = "return kept.isPattern(kept.lease.value.data, length, 1);"
    assert node.run(is_whole, length=4 * MEBIBYTE) is True
    node.run("kept.lease.release();")
    assert states(store) == ["sealed"]

    theirs = ref_of(node.run("return kept.store.put(kept.pattern(length, 3));", length=4 * MEBIBYTE))
    view = store.get(theirs)
    assert node.run("return kept.store.delete(ref);", ref=json.loads(theirs.to_json())) is True
    node.run("await kept.store.put(kept.pattern(length, 4));", length=4 * MEBIBYTE)
    assert np.array_equal(view, pattern(4 * MEBIBYTE, 3))
    del view
    listed = node.run("return kept.store.list().map(({ state }) => state);")
    assert sorted(listed) == ["sealed", "sealed"]
    assert existing_bytes(store.name) == store.stat().used_bytes


def test_each_waits_for_the_others_drafts(store, node):
    draft = store.create_array((2, 3), "float32")
    call = node.begin(
        "const { ready } = await kept.store.wait([ref], { timeoutMs: 20000 });"
        "return kept.store.get(ready[0]).toNested();",
        ref=json.loads(draft.ref.to_json()),
    )
    draft.array[:] = [[1, 2, 3], [4, 5, 6]]
    draft.seal()
    assert node.answer(call) == [[1, 2, 3], [4, 5, 6]]

    theirs = ref_of(node.run("kept.draft = kept.store.createArray([5], 'int16'); return kept.draft.ref;"))
    with pytest.raises(ndshm.Error) as raised:
        store.get(theirs)
    assert raised.value.code == "ERR_NDSHM_NOT_SEALED"
    assert store.wait([theirs], timeout=0) == ([], [theirs])
    call = node.begin("kept.draft.array.fill(9); kept.draft.seal();")
    assert store.wait([theirs], timeout=20) == ([theirs], [])
    assert store.get(theirs).tolist() == [9] * 5
    node.answer(call)


def test_the_draft_of_a_killed_process_is_nobodys(store, node):
    theirs = ref_of(node.run("kept.draft = kept.store.createArray([2 ** 20], 'uint8'); return kept.draft.ref;"))
    assert states(store) == ["making, mapped"]
    node.kill()
    assert store.wait([theirs], timeout=20) == ([theirs], [])
    with pytest.raises(ndshm.Error) as raised:
        store.get(theirs)
    assert raised.value.code == "ERR_NDSHM_STALE_HANDLE"
    assert store.list() == []
    assert existing_bytes(store.name) == store.stat().used_bytes


def test_each_reads_what_the_other_spilled(fresh_name, tmp_path):
    with Store.open(fresh_name(), capacity="4MiB", spill_dir=tmp_path) as store, Node(JS_PATTERN) as node:
        node.run("kept.store = ndshm.Store.open(name);", name=store.name)
        mine = [store.put(pattern(MEBIBYTE, seed)) for seed in range(5)]
        assert store.stat().spilled_objects >= 2
        for seed, ref in enumerate(mine):
            code = (
                "const lease = kept.store.lease(ref);"
                "const whole = kept.isPattern(lease.value.data, length, seed); lease.release(); return whole;"
            )
            assert node.run(code, ref=json.loads(ref.to_json()), length=MEBIBYTE, seed=seed) is True
        node.run("for (const { ref } of kept.store.list()) kept.store.delete(ref);")
        code = "return kept.store.put(kept.pattern(length, seed));"
        theirs = [ref_of(node.run(code, length=MEBIBYTE, seed=seed)) for seed in range(6)]
        assert store.stat().spilled_objects >= 2
        for seed, ref in enumerate(theirs):
            assert np.array_equal(store.get(ref), pattern(MEBIBYTE, seed))
            store.delete(ref)
        assert os.listdir(store.stat().spill_dir) == []
        node.run("kept.store.close();")
    assert os.listdir(tmp_path) == []


def test_the_capacity_is_that_of_both(fresh_name):
    with Store.open(fresh_name(), capacity="4MiB") as store, Node() as node:
        node.run("kept.store = ndshm.Store.open(name);", name=store.name)
        theirs = ref_of(node.run("return kept.store.put(new Uint8Array(3 * 2 ** 20));"))
        with pytest.raises(ndshm.Error, match=f"process {node.pid} put") as raised:
            store.put(pattern(2 * MEBIBYTE))
        assert raised.value.code == "ERR_NDSHM_CAPACITY"
        store.delete(theirs)
        store.put(pattern(3 * MEBIBYTE))
        with pytest.raises(PeerError, match=f"process {os.getpid()} put") as thrown:
            node.run("return kept.store.put(new Uint8Array(2 * 2 ** 20));")
        assert thrown.value.code == "ERR_NDSHM_CAPACITY"


@pytest.mark.parametrize("last", ["Node", "Python"])
def test_the_last_one_takes_it_away_whoever_made_it(fresh_name, last):
    name = fresh_name()
    with Node() as node:
        node.run("kept.store = ndshm.Store.open(name, { capacity: '4MiB' });", name=name)
        ref = ref_of(node.run("return kept.store.put('theirs');"))
        store = Store.open(name)
        assert store.get(ref) == "theirs"
        if last == "Node":
            store.close()
            assert node.run("return kept.store.get(ref);", ref=json.loads(ref.to_json())) == "theirs"
            node.run("kept.store.close();")
        else:
            node.run("kept.store.close();")
            assert store.get(ref) == "theirs"
            store.close()
    assert segments_of(name) == set()


def test_another_capacity_is_refused_across_languages(store, node):
    with pytest.raises(PeerError, match="capacity 8 MiB but found 64 MiB") as thrown:
        node.run("ndshm.Store.open(name, { capacity: '8MiB' });", name=store.name)
    assert thrown.value.code == "ERR_NDSHM_MISMATCH"
