"""safetensors files: the library reads what Node and Python put, and they read what it writes."""

from __future__ import annotations

import gc
import os
import random
import struct
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save, save_file
from safetensors.torch import save_file as save_torch

import ndshm
from ndshm._plain_file import publish_file
from one_shot import file_at, run_node

DTYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64"),
]


def sample() -> dict[str, np.ndarray]:
    return {dtype: np.arange(6).reshape(2, 3).astype(dtype) for dtype in DTYPES} | {"scalar": np.array(1.5, "float32")}


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for key, array in expected.items():
        assert found[key].dtype == array.dtype
        np.testing.assert_array_equal(found[key], array)


def test_the_library_reads_what_python_puts(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    ndshm.put_tensors(name, sample(), metadata={"epoch": "3", "ü": '"'})
    assert_same(load_file(f"/dev/shm/{name}"), sample())
    with safe_open(f"/dev/shm/{name}", "numpy") as file:
        assert file.metadata() == {"epoch": "3", "ü": '"'}
    ndshm.unlink(name)


def test_the_library_and_python_read_what_node_puts(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    script = """
    const tensors = {};
    for (const dtype of given.dtypes) {
      const array = ndshm.anonymous({ shape: [2, 3], dtype, order: 'F' });
      const values = [[0, 1, 2], [3, 4, 5]];
      tensors[dtype] = array.copyFrom(dtype === 'bool' ? values.map((row) => row.map(Boolean)) : values);
    }
    tensors.scalar = ndshm.anonymous({ shape: [], dtype: 'float32' }).fill(1.5);
    ndshm.putTensors(given.name, tensors, { metadata: { by: 'node' } });
    """
    run_node(script, {"name": name, "dtypes": DTYPES})
    assert_same(load_file(f"/dev/shm/{name}"), sample())
    with ndshm.open_tensors(name) as opened:
        assert_same(dict(opened), sample())
        assert dict(opened.metadata) == {"by": "node"}
    ndshm.unlink(name)


def test_python_and_node_read_what_the_library_writes(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    save_file(sample(), f"/dev/shm/{name}", metadata={"by": "library"})
    with ndshm.open_tensors(name) as opened:
        assert_same(dict(opened), sample())
    script = """
    const opened = ndshm.openTensors(given);
    const shown = {};
    for (const [key, array] of Object.entries(opened.tensors)) {
      shown[key] = [array.dtype, array.shape, String(array.get(...array.shape.map(() => 1)))];
    }
    console.log(JSON.stringify([shown, opened.metadata]));
    """
    found, metadata = run_node(script, name)
    assert metadata == {"by": "library"}
    assert found["scalar"] == ["float32", [], "1.5"]
    assert found["int64"] == ["int64", [2, 3], "4"]
    assert set(found) == set(sample())
    ndshm.unlink(name)


def test_mode_r_plus_stores_into_the_file_for_everybody(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    save_file({"w": np.zeros(3), "b": np.zeros(2, "int32")}, f"/dev/shm/{name}")
    with ndshm.open_tensors(name) as seen, ndshm.open_tensors(name, "r+") as model:
        model["w"][1] = 5
        run_node("const m = ndshm.openTensors(given, { mode: 'r+' }); m.tensors.b.set(0, 7); m.close();", name)
        assert seen["w"].tolist() == [0, 5, 0]
        assert model["b"].tolist() == [7, 0]
        with pytest.raises(ValueError):
            seen["w"][0] = 1
    with ndshm.open_tensors(name, "c") as copy:
        copy["w"][0] = 9
    assert load_file(f"/dev/shm/{name}")["w"].tolist() == [0, 5, 0]
    ndshm.unlink(name)


def test_arrays_are_views_on_one_mapping_which_the_last_of_them_keeps(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    ndshm.put_tensors(name, {"w": np.arange(1000.0), "b": np.arange(3)})
    opened = ndshm.open_tensors(name)
    w = opened["w"]
    address = w.__array_interface__["data"][0]
    assert file_at(address) == f"/dev/shm/{name}"
    assert opened["b"].__array_interface__["data"][0] == address + 8000
    assert address % 64 == 0
    opened.close()
    opened.close()
    assert opened.closed
    with pytest.raises(ndshm.Error) as caught:
        opened["w"]
    assert caught.value.code == "ERR_NDSHM_CLOSED"
    gc.collect()
    assert w[999] == 999
    del w
    gc.collect()
    assert file_at(address) != f"/dev/shm/{name}"
    ndshm.unlink(name)


def test_tensors_that_numpy_does_not_have_are_named(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    tensors = {"w": torch.ones(2), "h": torch.ones(2, dtype=torch.bfloat16), "f": torch.ones(2).to(torch.float8_e4m3fn)}
    save_torch(tensors, f"/dev/shm/{name}")
    with pytest.raises(ndshm.Error, match=r"'[hf]' ") as caught:
        ndshm.open_tensors(name)
    assert caught.value.code == "ERR_NDSHM_DTYPE"
    with ndshm.open_tensors(name, names=["w"]) as opened:
        assert set(opened) == {"w"}
        assert set(opened.names) == {"w", "h", "f"}
    script = """
    const codes = [];
    try { ndshm.openTensors(given); } catch (error) { codes.push(error.code); }
    codes.push(ndshm.openTensors(given, { names: ['w'] }).tensors.w.toNested());
    console.log(JSON.stringify(codes));
    """
    assert run_node(script, name) == ["ERR_NDSHM_DTYPE", [1, 1]]
    with pytest.raises(ndshm.Error) as caught:
        ndshm.open_tensors(name, names=["x"])
    assert caught.value.code == "ERR_NDSHM_OUT_OF_RANGE"
    ndshm.unlink(name)


def test_error_replace_and_readers_who_keep_the_old_tensors(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    ndshm.put_tensors(name, {"w": [1]})
    with pytest.raises(FileExistsError):
        ndshm.put_tensors(name, {"w": [2]})
    old = ndshm.open_tensors(name)
    ndshm.put_tensors(name, {"w": [3]}, if_exists="replace")
    with old, ndshm.open_tensors(name) as now:
        assert (old["w"][0], now["w"][0]) == (1, 3)
    assert ndshm.stat(name).kind == "tensors"
    ndshm.unlink(name)


def test_wrong_arguments_leave_nothing(fresh_name: Callable[..., str]) -> None:
    before = set(os.listdir("/dev/shm"))
    for arguments, options, code in [
        ((fresh_name(), [1]), {}, "ERR_NDSHM_INVALID_ARGUMENT"),
        ((fresh_name(), {1: [1]}), {}, "ERR_NDSHM_INVALID_ARGUMENT"),
        ((fresh_name(), {"w": ["text"]}), {}, "ERR_NDSHM_DTYPE"),
        ((fresh_name(), {"w": [1j]}), {}, "ERR_NDSHM_DTYPE"),
        ((fresh_name(), {"w": np.zeros(2, ">f4")}), {}, "ERR_NDSHM_DTYPE"),
        ((fresh_name(), {"__metadata__": [1]}), {}, "ERR_NDSHM_OUT_OF_RANGE"),
        (("a/b", {}), {}, "ERR_NDSHM_INVALID_NAME"),
        ((fresh_name(), {}), {"metadata": {"a": 1}}, "ERR_NDSHM_INVALID_ARGUMENT"),
        ((fresh_name(), {}), {"metadata": {"a": "\ud800"}}, "ERR_NDSHM_OUT_OF_RANGE"),
        ((fresh_name(), {}), {"if_exists": "open"}, "ERR_NDSHM_OUT_OF_RANGE"),
    ]:
        with pytest.raises(ndshm.Error) as caught:
            ndshm.put_tensors(*arguments, **options)
        assert caught.value.code == code
    assert set(os.listdir("/dev/shm")) == before


def is_valid(path: Path) -> bool:
    try:
        load_file(path)
    except Exception:  # whatever the library raises
        return False
    return True


def test_whatever_bytes_are_changed_nothing_opens_that_the_library_refuses(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    path = Path("/dev/shm") / name
    valid = save({"w": np.zeros((1, 2)), "b": np.zeros(3, "uint8")}, metadata={"a": "b"})
    draw = random.Random(7)
    opened = 0
    for _ in range(1000):
        changed = bytearray(valid)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(8) if draw.random() < 0.2 else draw.randrange(8, len(valid))
            changed[at] = draw.choice([draw.randrange(256), *b'{}[]",:0123456789.eE\\ UFI'])
        path.write_bytes(changed)
        try:
            with ndshm.open_tensors(name) as tensors:
                for array in tensors.values():
                    array.sum()
        except ndshm.Error as error:
            assert error.code in ("ERR_NDSHM_FORMAT", "ERR_NDSHM_DTYPE")
        else:
            opened += 1
            assert is_valid(path)
    assert 10 < opened < 990
    ndshm.unlink(name)


@pytest.mark.parametrize(
    "header",
    [
        '{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}}',
        '{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":1}}',
        '{"w":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}}',
        '{"w":{"dtype":"U8","shape":[true,4],"data_offsets":[0,4]}}',
        '{"w":{"dtype":"U8","shape":[-4],"data_offsets":[4,0]}}',
        '{"w":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}',
        '{"w":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}',
        '{"w":{"dtype":"U8","shape":[NaN],"data_offsets":[0,4]}}',
        '{"w":{"dtype":["U8"],"shape":[4],"data_offsets":[0,4]}}',
        '{"__metadata__":{"a":1},"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}',
        '{"\\ud800":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}',
        ' {"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}',
        '{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}} x',
        '{"w":' + "[" * 100_000,
        "[]",
        "",
    ],
)
def test_what_the_format_forbids_is_an_error(fresh_name: Callable[..., str], header: str) -> None:
    name = fresh_name()
    Path("/dev/shm", name).write_bytes(struct.pack("<Q", len(header)) + header.encode() + b"\0" * 4)
    with pytest.raises(ndshm.Error) as caught:
        ndshm.open_tensors(name)
    assert caught.value.code == "ERR_NDSHM_FORMAT"
    ndshm.unlink(name)


def test_what_was_being_written_can_be_looked_at_after_it_has_failed(fresh_name: Callable[..., str]) -> None:
    name, views = fresh_name(), []

    def fill(pages: memoryview) -> None:
        views.append(np.frombuffer(pages, np.uint8))
        raise ValueError

    with pytest.raises(ValueError):
        publish_file(name, 4096, fill, "error", False)
    assert not views[0].any()
    assert not Path("/dev/shm", name).exists()


def test_one_name_where_a_list_of_names_is_wanted(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    ndshm.put_tensors(name, {"w": [1.0]})
    with pytest.raises(ndshm.InvalidArgument):
        ndshm.open_tensors(name, names="w")
    ndshm.unlink(name)
