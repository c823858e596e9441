"""The bytes of a store may be anything: an error with a code, never a crash, and never a read outside the mapping."""

from __future__ import annotations

import os
import random
import struct

import pytest

import ndshm
from ndshm import Store
from stores import MEBIBYTE, SHM, forked, pattern, segments_of

HEADER, CONTROL, PAGE = 4096, 20480, 4096
ROUNDS = int(os.environ.get("NDSHM_HOSTILE_ROUNDS", "40"))
SEED = int(os.environ.get("NDSHM_STORM_SEED", "1"))


def use(store: Store, refs: list[ndshm.ObjectRef]) -> list[str]:
    """Every way to use it; the codes of what was raised."""
    codes: list[str] = []

    def tried(call) -> None:
        try:
            call()
            codes.append("right")
        except (ndshm.Error, OSError) as error:
            codes.append(getattr(error, "code", repr(error)))

    for ref in refs:
        for call in (store.get, store.has, lambda ref: store.wait([ref], timeout=0), store.delete):
            tried(lambda call=call, ref=ref: call(ref))
    tried(lambda: store.put({"small": 1}))
    tried(lambda: store.put(pattern(100_000)))
    tried(lambda: store.create_array(50_000, "uint8").seal())
    tried(lambda: store.create_array(10, "uint8").close())
    tried(store.list)
    tried(store.stat)
    tried(store.close)
    return codes


def scribbled(name: str, choose: random.Random, where: str) -> None:
    """Writes over some of a store's words, as anybody may who can open the file."""
    path = SHM / (name if where == "words" else f"{name}.pages.0")
    with open(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size - HEADER - CONTROL
        # The first pages are what counts: the words of the store and the rows of its first chunks.
        reach = min(size, 190_000 if where == "words" else 400_000)
        for _ in range(choose.choice([1, 3, 50, 2000])):
            at = 4 * choose.randrange(reach // 4)
            if where == "words" and choose.random() < 0.5:
                at = 4 * choose.choice([16, 17, *range(796, 890), *range(17245, 17270)])
            value = choose.choice([0, 1, 2, 3, 5, 2**31 - 1, 2**31, 2**32 - 1, choose.randrange(2**32)])
            file.seek(HEADER + at)
            file.write(struct.pack("<I", value))


@pytest.mark.parametrize("where", ["words", "pages"])
def test_words_that_were_written_over_are_an_error(fresh_name, where):
    name = fresh_name()

    def child(say, wait):
        choose = random.Random(SEED)
        seen: set[str] = set()
        for _ in range(ROUNDS):
            store = Store.open(name, capacity="2MiB")
            refs = [store.put(value) for value in ({"n": 1}, pattern(100_000), pattern(200_000), [2])]
            view = store.get(refs[1])
            store.delete(store.put(pattern(150_000)))
            doomed = store.put(pattern(120_000))
            held = store.get(doomed)
            store.delete(doomed)
            draft = store.create_array(10_000, "uint8")
            scribbled(name, choose, where)
            seen.update(use(store, refs))
            draft.close()
            assert (view.nbytes, held.nbytes) == (100_000, 120_000)
            for left in segments_of(name):
                (SHM / left).unlink()
        say(",".join(sorted(seen)))

    with forked(child) as it:
        codes = set(it.line().split(","))
    assert "right" in codes
    assert len(codes) > 1
    assert codes <= {"right", "ENOSPC", "ENOMEM", *(code for code in codes if code.startswith("ERR_NDSHM_"))}


def test_bytes_of_an_object_that_were_written_over_are_an_error(fresh_name):
    choose = random.Random(SEED)
    with Store.open(fresh_name(), capacity="4MiB") as store:
        codes = set()
        for _ in range(ROUNDS):
            draft = store.create_array(40_000, "uint8")
            draft.array[:] = 1
            ref = draft.seal()
            with open(SHM / f"{store.name}.pages.0", "r+b") as file:
                pages = range(HEADER, HEADER + 4 * MEBIBYTE, PAGE)
                start = next(at for at in pages if os.pread(file.fileno(), 4, at) == b"NDOB")
                for _ in range(choose.choice([1, 4, 30])):
                    file.seek(start + choose.randrange(64))
                    file.write(bytes([choose.randrange(256)]))
            try:
                store.get(ref)
                codes.add("right")
            except ndshm.Error as error:
                codes.add(error.code)
            store.delete(ref)
        assert "ERR_NDSHM_CORRUPT_OBJECT" in codes
        assert codes <= {"right", "ERR_NDSHM_CORRUPT_OBJECT", "ERR_NDSHM_UNSUPPORTED"}


@pytest.mark.parametrize("member", ["", ".pages.0"])
def test_a_truncated_file_is_an_error_and_not_a_crash(fresh_name, member):
    name = fresh_name()

    def child(say, wait):
        store = Store.open(name, capacity="4MiB")
        refs = [store.put({"n": 1}), store.put(pattern(MEBIBYTE))]
        view = store.get(refs[1])
        os.truncate(SHM / f"{name}{member}", HEADER)
        if member:
            assert int(view.sum()) == 0
        say(",".join(sorted(set(use(store, refs)))))
        for left in segments_of(name):
            (SHM / left).unlink()

    with forked(child) as it:
        codes = set(it.line().split(","))
    assert "ERR_NDSHM_TRUNCATED" in codes
    assert codes <= {"right", "ERR_NDSHM_TRUNCATED", "ERR_NDSHM_CONTROL_CORRUPT"}


def test_another_layout_is_refused(fresh_name):
    name = fresh_name()
    with Store.open(name, capacity="4MiB"):
        with open(SHM / name, "r+b") as file:
            file.seek(HEADER + 4 * 6)
            file.write(struct.pack("<I", 41806))
        with pytest.raises(ndshm.Error) as raised:
            Store.open(name)
        assert raised.value.code == "ERR_NDSHM_CONTROL_CORRUPT"
        with open(SHM / name, "r+b") as file:
            file.seek(HEADER + 4 * 6)
            file.write(struct.pack("<I", 41807))


def test_a_name_that_is_something_elses_is_refused(fresh_name):
    name = fresh_name()
    for taken, code in ((name, "ERR_NDSHM_MISMATCH"), (f"{name}.pages.0", "EEXIST")):
        array = ndshm.create(taken, (100,), "float64")
        with pytest.raises((ndshm.Error, OSError)) as raised:
            Store.open(name, capacity="4MiB")
        assert raised.value.code == code
        array.close()
        ndshm.unlink(taken)
    assert segments_of(name) == set()
