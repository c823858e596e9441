"""Arrays: made, opened, replaced, and passed on, between Python processes and Node."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import ndshm
from node import Node
from python import Python

DTYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
]
SHM = Path("/dev/shm")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4), (5,)])
def test_an_array_opens_as_it_was_created(fresh_name, dtype, order, shape):
    name = fresh_name()
    with ndshm.create(name, shape, dtype, order) as made:
        assert not made.any()
        made[...] = np.ones(shape).astype(dtype)
        with ndshm.open(name) as opened:
            assert (opened.dtype, opened.shape, opened.mode, opened.name) == (np.dtype(dtype), shape, "r", name)
            assert opened.flags.f_contiguous if order == "F" else opened.flags.c_contiguous
            np.testing.assert_array_equal(opened, made)
        by_numpy = np.load(SHM / name)
        np.testing.assert_array_equal(by_numpy, made)


def test_the_header_is_byte_for_byte_the_one_that_node_writes(fresh_name):
    name, other = fresh_name(), fresh_name()
    with Node() as node:
        for shape, dtype, order in [
            ([2, 3], "float32", "F"),
            ([], "bool", "C"),
            ([7], "complex128", "C"),
            ([0, 1], "int8", "C"),
        ]:
            ndshm.create(name, shape, dtype, order).close()
            node.run(
                "ndshm.create(name, options).close();",
                name=other,
                options={"shape": shape, "dtype": dtype, "order": order},
            )
            ours, theirs = (SHM / each for each in (name, other))
            assert ours.read_bytes()[:4096] == theirs.read_bytes()[:4096]
            assert ours.stat().st_size == theirs.stat().st_size
            ndshm.unlink(name)
            ndshm.unlink(other)


def test_stores_are_seen_by_others_in_mode_r_plus_and_by_nobody_in_mode_c(fresh_name):
    name = fresh_name()
    with ndshm.from_array(name, [1, 2, 3]) as a, ndshm.open(name, "r+") as shared, ndshm.open(name, "c") as own:
        shared[0] = 10
        own[1] = 20
        assert a.tolist() == [10, 2, 3]
        assert own.tolist() == [10, 20, 3]


def test_mode_r_refuses_to_store(fresh_name):
    name = fresh_name()
    ndshm.from_array(name, [1, 2, 3]).close()
    with ndshm.open(name) as a:
        with pytest.raises(ValueError, match="read-only"):
            a[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            a.flags.writeable = True
        with pytest.raises(ValueError, match="WRITEABLE"):
            a[1:].view(np.ndarray).flags.writeable = True


def test_if_exists(fresh_name):
    name = fresh_name()
    with ndshm.from_array(name, [1.0, 2.0]) as old:
        with pytest.raises(FileExistsError) as raised:
            ndshm.create(name, 2)
        assert raised.value.code == "EEXIST"
        assert raised.value.filename == f"/dev/shm/{name}"
        with ndshm.create(name, 2, if_exists="open") as same:
            assert same.tolist() == [1, 2]
            assert same.mode == "r+"
        for other in [{"shape": 3}, {"shape": 2, "dtype": "int32"}]:
            with pytest.raises(ndshm.Error) as raised:
                ndshm.create(name, **other, if_exists="open")
            assert raised.value.code == "ERR_NDSHM_MISMATCH"
        with ndshm.create(name, (2, 2), "int8", if_exists="replace") as new:
            assert new.shape == (2, 2)
            assert old.tolist() == [1, 2]
        with pytest.raises(ndshm.Error) as raised:
            old.unlink()
        assert raised.value.code == "ERR_NDSHM_STALE_HANDLE"
        with pytest.raises(ValueError, match="if_exists"):
            ndshm.create(name, 1, if_exists="maybe")


def test_init_fills_before_the_array_has_its_name_and_leaves_nothing_when_it_raises(fresh_name):
    name = fresh_name()

    def fill(array):
        assert not (SHM / name).exists()
        array[:] = [1, 2]

    with ndshm.create(name, 2, init=fill, ephemeral=True) as a:
        assert a.tolist() == [1, 2]

    def fail(array):
        raise KeyError("no")

    with pytest.raises(KeyError):
        ndshm.create(name, 2, init=fail)
    assert not (SHM / name).exists()


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (("../x", 1), "ERR_NDSHM_INVALID_NAME", ValueError),
        ((".x", 1), "ERR_NDSHM_INVALID_NAME", ValueError),
        (("x" * 251, 1), "ERR_NDSHM_INVALID_NAME", ValueError),
        (("x\n", 1), "ERR_NDSHM_INVALID_NAME", ValueError),
        ((7, 1), "ERR_NDSHM_INVALID_ARGUMENT", TypeError),
        (("x", -1), "ERR_NDSHM_SHAPE", ValueError),
        (("x", (2**40, 2**40)), "ERR_NDSHM_SHAPE", ValueError),
        (("x", 1.5), "ERR_NDSHM_INVALID_ARGUMENT", TypeError),
        (("x", "3"), "ERR_NDSHM_INVALID_ARGUMENT", TypeError),
        (("x", (1,) * 65), "ERR_NDSHM_SHAPE", ValueError),
        (("x", 1, "object"), "ERR_NDSHM_DTYPE", TypeError),
        (("x", 1, ">f8"), "ERR_NDSHM_DTYPE", TypeError),
        (("x", 1, "U3"), "ERR_NDSHM_DTYPE", TypeError),
        (("x", 1, [("a", "i4")]), "ERR_NDSHM_DTYPE", TypeError),
        (("x", 1, "float"), None, None),
        (("x", 1, "int8", "K"), "ERR_NDSHM_OUT_OF_RANGE", ValueError),
    ],
)
def test_what_create_refuses(fresh_name, arguments, code, kind):
    if code is None:
        ndshm.create(fresh_name(), *arguments[1:]).close()
        return
    with pytest.raises(kind) as raised:
        ndshm.create(*arguments)
    assert raised.value.code == code
    assert isinstance(raised.value, ndshm.Error)


def test_a_full_file_system_is_an_error_that_says_what_to_do(fresh_name):
    with pytest.raises(OSError, match="shm-size") as raised:
        ndshm.create(fresh_name(), 2**50, "int8")
    assert raised.value.code == "ENOSPC"


def test_what_is_not_there(fresh_name):
    for look in (ndshm.open, ndshm.stat, ndshm.unlink):
        with pytest.raises(FileNotFoundError) as raised:
            look(fresh_name())
        assert raised.value.code == "ENOENT"


def test_from_array_copies_whatever_numpy_takes(fresh_name):
    for source, dtype, order in [
        ([[1, 2], [3, 4]], None, "C"),
        (np.arange(6.0).reshape(2, 3).T, None, "F"),
        (np.arange(10)[::3], None, "C"),
        (np.arange(4, dtype=">i4"), None, "C"),
        ([True, False], "uint8", "C"),
        (np.float32(2.5), None, "C"),
    ]:
        name = fresh_name()
        with ndshm.from_array(name, source, dtype, ephemeral=True) as a:
            np.testing.assert_array_equal(a, np.asarray(source))
            if a.ndim > 1:
                assert a.flags.f_contiguous == (order == "F")


def test_views_are_shared_arrays_and_results_are_plain(fresh_name):
    with ndshm.from_array(fresh_name(), np.arange(12.0).reshape(3, 4), ephemeral=True) as a:
        for view in (a[1], a[:, ::2], a.T, a.reshape(4, 3), a[::-1]):
            assert type(view) is ndshm.SharedArray
            assert view.name == a.name
            with view.write():
                view[0] += 1
        assert a.version == 10
        for result in (a + 1, np.sqrt(a), a.copy(), a.astype("int32"), copy.copy(a), copy.deepcopy(a), a > 3):
            assert type(result) is np.ndarray
        assert isinstance(a.sum(), np.float64)
        assert np.add(a, 1, out=a) is a
        picked = a[[0, 1]]
        with pytest.raises(ndshm.Error) as raised:
            picked.write()
        assert raised.value.code == "ERR_NDSHM_ANONYMOUS"


def test_handles_lead_to_the_same_memory_in_node_and_back(fresh_name):
    name = fresh_name()
    with ndshm.from_array(name, np.arange(12, dtype="int32").reshape(3, 4)) as a, Node() as node:
        for view in (a, a[1:, ::2], a[::-1, 1], a.T, a[0:0]):
            handle = json.loads(json.dumps(view.handle))
            assert (
                node.run("kept.a = ndshm.attach(handle, { mode: 'r+' }); return kept.a.toNested();", handle=handle)
                == view.tolist()
            )
            back = node.run("return kept.a.handle;")
            assert back == handle
            with ndshm.attach(back, "r+") as again:
                assert again.tolist() == view.tolist()
                assert again.strides == view.strides or view.size == 0
            node.run("kept.a.close();")
        with ndshm.attach(a[1].handle, "r+") as row:
            row[0] = 99
        assert a[1, 0] == 99


def test_a_stale_handle_is_refused(fresh_name):
    name = fresh_name()
    with ndshm.from_array(name, [1, 2]) as a:
        handle = a.handle
        ndshm.from_array(name, [1, 2], if_exists="replace").close()
        with pytest.raises(ndshm.Error) as raised:
            ndshm.attach(handle)
        assert raised.value.code == "ERR_NDSHM_STALE_HANDLE"


@pytest.mark.parametrize(
    "change",
    [
        {"view": {"shape": [4], "strides": [4], "byteOffset": 0}},
        {"view": {"shape": [3], "strides": [4], "byteOffset": 4}},
        {"view": {"shape": [2], "strides": [-4], "byteOffset": 0}},
        {"view": {"shape": [1], "strides": [4], "byteOffset": 2}},
        {"view": {"shape": [2**50], "strides": [2**50], "byteOffset": 0}},
        {"view": {"shape": [2**11 + 1], "strides": [2**53], "byteOffset": 0}},
        {"view": {"shape": [1, 1], "strides": [4], "byteOffset": 0}},
        {"view": {}},
        {"view": 7},
        {"name": "../x"},
        {"dtype": "O"},
        {"ndshm": 2},
        {"rawByteOffset": -1},
    ],
)
def test_a_hostile_handle_is_refused(fresh_name, change):
    name = fresh_name()
    with ndshm.from_array(name, np.arange(3, dtype="int32")) as a:
        with pytest.raises((TypeError, ValueError)) as raised:
            ndshm.attach({**a.handle, **change})
        assert isinstance(raised.value, ndshm.Error)
    assert len(ndshm.stat(name).peers) == 0


def test_pickling_passes_the_memory_on(fresh_name):
    with ndshm.from_array(fresh_name(), [1, 2, 3], ephemeral=True) as a:
        with pickle.loads(pickle.dumps(a)) as same, pickle.loads(pickle.dumps(a[1:])) as tail:
            same[1] = 20
            tail[1] = 30
        assert a.tolist() == [1, 20, 30]
        plain = pickle.loads(pickle.dumps(a + 1))
        assert type(plain) is np.ndarray


def test_raw_memory_of_others(fresh_name):
    name = fresh_name()
    (SHM / name).write_bytes(b"\0" * 16 + np.arange(6.0).tobytes() + b"x")
    with ndshm.open_raw(name, "float64", (2, 3), byte_offset=16, mode="r+") as raw:
        assert raw.tolist() == [[0, 1, 2], [3, 4, 5]]
        raw[0, 0] = 7
        with ndshm.attach(raw.handle) as same:
            assert same[0, 0] == 7
        with pytest.raises(ndshm.Error) as raised:
            raw.changed()
        assert raised.value.code == "ERR_NDSHM_NO_CONTROL"
    with ndshm.open_raw(name, "uint8") as whole:
        assert whole.shape == (16 + 48 + 1,)
    for arguments, code in [
        (("float64", 10), "ERR_NDSHM_TRUNCATED"),
        (("float64", 1, 4), "ERR_NDSHM_ALIGNMENT"),
        (("float64", 1, -8), "ERR_NDSHM_OUT_OF_RANGE"),
    ]:
        with pytest.raises(ndshm.Error) as raised:
            ndshm.open_raw(name, *arguments)
        assert raised.value.code == code


def test_a_plain_npy_file_opens_in_every_mode(fresh_name):
    name = fresh_name()
    with (SHM / name).open("wb") as file:
        np.save(file, np.arange(4))
    for mode in ("r", "r+", "c"):
        with ndshm.open(name, mode) as a:
            assert a.tolist() == [0, 1, 2, 3]
            if mode == "r+":
                with pytest.raises(ndshm.Error) as raised, a.write():
                    pass
                assert raised.value.code == "ERR_NDSHM_NO_CONTROL"
    assert ndshm.stat(name).kind == "npy"


def test_node_and_python_open_each_others_arrays(fresh_name):
    name = fresh_name()
    with Node() as node:
        node.run("ndshm.fromArray(name, [[1, 2], [3, 4]], { dtype: 'float32' }).close();", name=name)
        with ndshm.open(name, "r+") as a:
            assert a.tolist() == [[1, 2], [3, 4]]
            a[1, 1] = 40
        assert node.run("return ndshm.open(name).toNested();", name=name) == [[1, 2], [3, 40]]
        info = node.run(
            "const { peers, ...info } = ndshm.stat(name); return { ...info, peers: peers.length };", name=name
        )
    seen = ndshm.stat(name)
    assert (seen.kind, seen.dtype, list(seen.shape), seen.order) == (
        info["kind"],
        info["dtype"],
        info["shape"],
        info["order"],
    )
    assert (seen.id, seen.nbytes, seen.file_bytes) == (info["id"], info["nbytes"], info["fileBytes"])


def test_after_close_methods_refuse_and_memory_stays(fresh_name):
    a = ndshm.from_array(fresh_name(), [1, 2, 3], ephemeral=True)
    view, plain = a[1:], np.asarray(a)
    a.close()
    a.close()
    assert a.closed
    assert view.closed
    view[0] = 20
    assert plain.tolist() == [1, 20, 3]
    calls = [a.write, view.read, lambda x=a: x.version, lambda x=a: x.handle, a.changed, a.snapshot]
    for use in calls:
        with pytest.raises(ndshm.Closed) as raised:
            use()
        assert raised.value.code == "ERR_NDSHM_CLOSED"
    del a, view, calls, use
    assert plain.tolist() == [1, 20, 3]


def test_closing_a_view_ends_that_view_alone(fresh_name):
    with ndshm.from_array(fresh_name(), [1, 2, 3], ephemeral=True) as a:
        view = a[1:]
        view.close()
        assert view.closed
        assert not a.closed
        with pytest.raises(ndshm.Closed):
            view.write()
        with a.write():
            a[0] = 5


def test_an_ephemeral_array_goes_with_its_last_peer(fresh_name):
    name = fresh_name()
    a = ndshm.create(name, 3, ephemeral=True)
    with Python("kept['a'] = ndshm.open(name, 'r+')", name=name) as other:
        a.close()
        assert (SHM / name).exists()
        assert other.end() == 0
    assert not (SHM / name).exists()


def test_an_ephemeral_array_goes_when_it_is_collected(fresh_name):
    name = fresh_name()
    a = ndshm.create(name, 3, ephemeral=True)
    assert len(ndshm.stat(name).peers) == 1
    del a
    assert not (SHM / name).exists()


def test_gc_removes_what_a_killed_process_has_left(fresh_name):
    name = fresh_name()
    with Python("kept['a'] = ndshm.create(name, 3, ephemeral=True)", name=name) as other:
        assert name not in ndshm.gc()
        other.kill()
    assert name in ndshm.gc()


def test_load_and_save(fresh_name, tmp_path):
    for order in "CF":
        array = np.asarray(np.arange(6.0).reshape(2, 3), order=order)
        np.save(tmp_path / "in.npy", array)
        with ndshm.load(fresh_name(), tmp_path / "in.npy", ephemeral=True) as a:
            np.testing.assert_array_equal(a, array)
            ndshm.save(a, tmp_path / "out.npy")
            ndshm.save(a[:, ::2], tmp_path / "part.npy")
        assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "in.npy").read_bytes()
        np.testing.assert_array_equal(np.load(tmp_path / "part.npy"), array[:, ::2])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.npy", "out.npy", "part.npy"]


def test_nothing_is_left_open(fresh_name):
    name = fresh_name()
    ndshm.create(name, 3).close()
    before = len(list(Path("/proc/self/fd").iterdir())), Path("/proc/self/maps").read_text().count(name)
    for _ in range(20):
        with ndshm.open(name, "r+") as a, a.write():
            a[0] += 1
        del a
    assert (len(list(Path("/proc/self/fd").iterdir())), Path("/proc/self/maps").read_text().count(name)) == before
