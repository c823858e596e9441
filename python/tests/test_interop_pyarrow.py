"""Arrow tables: pyarrow maps what Node puts, and Node what Python puts."""

from __future__ import annotations

import gc
import os
from typing import Callable

import numpy as np
import pyarrow as pa
import pytest

import ndshm
from one_shot import file_at, run_node

PUT = """
const rows = 5000;
const numbers = Array.from({ length: rows }, (_, n) => n);
const table = new arrow.Table({
  x: arrow.makeVector(Float64Array.from(numbers, (n) => n / 4)),
  n: arrow.vectorFromArray(numbers.map((n) => (n % 7 === 0 ? null : n)), new arrow.Int32()),
  text: arrow.vectorFromArray(numbers.map((n) => `text ${n}`), new arrow.Utf8()),
  word: arrow.vectorFromArray(numbers.map((n) => ['ja', 'no', 'ü'][n % 3])),
  flag: arrow.vectorFromArray(numbers.map((n) => n % 2 === 0), new arrow.Bool()),
});
ndshm.putTable(given, table.concat(table));
"""
ROWS = 10_000


def buffers_of(table: pa.Table) -> list[pa.Buffer]:
    chunks = [chunk for column in table.columns for chunk in column.chunks]
    dictionaries = [chunk.dictionary for chunk in chunks if isinstance(chunk, pa.DictionaryArray)]
    found = [buffer for chunk in chunks + dictionaries for buffer in chunk.buffers()]
    return [buffer for buffer in found if buffer is not None and buffer.size > 0]


def sample() -> pa.Table:
    return pa.table(
        {
            "x": pa.array(np.arange(1000) / 4),
            "n": pa.array([None if n % 7 == 0 else n for n in range(1000)], pa.int32()),
            "text": [f"text {n}" for n in range(1000)],
            "word": pa.array(["ja", "no", "ü", None] * 250).dictionary_encode(),
            "list": pa.array([[n, n + 1] for n in range(1000)], pa.list_(pa.int16())),
            "pair": pa.array([{"a": n, "b": n % 2 == 0} for n in range(1000)]),
        }
    )


def test_pyarrow_maps_a_table_of_node_without_a_copy(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    run_node(PUT, name)
    before = pa.total_allocated_bytes()
    with pa.memory_map(f"/dev/shm/{name}") as source:
        table = pa.ipc.open_file(source).read_all()
    table.validate(full=True)
    assert pa.total_allocated_bytes() == before
    assert table.num_rows == ROWS
    places = buffers_of(table)
    assert len(places) > 10
    assert {file_at(buffer.address) for buffer in places} == {f"/dev/shm/{name}"}
    assert {buffer.address % 64 for buffer in places} == {0}
    assert table.slice(5_006, 2).to_pydict() == {
        "x": [1.5, 1.75],
        "n": [6, None],
        "text": ["text 6", "text 7"],
        "word": ["ja", "no"],
        "flag": [True, False],
    }
    ndshm.unlink(name)


def test_open_table_maps_it_too_for_as_long_as_any_column_lives(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    run_node(PUT, name)
    before = pa.total_allocated_bytes()
    column = ndshm.open_table(name).column("x").chunk(0)
    ndshm.unlink(name)
    gc.collect()
    assert pa.total_allocated_bytes() == before
    address = column.buffers()[1].address
    assert file_at(address).startswith(f"/dev/shm/{name}")
    assert column[4].as_py() == 1.0
    del column
    gc.collect()
    assert not file_at(address).startswith(f"/dev/shm/{name}")


def test_a_file_is_a_stream_behind_its_magic(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    run_node(PUT, name)
    with pa.memory_map(f"/dev/shm/{name}") as source:
        source.seek(8)
        assert pa.ipc.open_stream(source).read_all().num_rows == ROWS
    ndshm.unlink(name)


@pytest.mark.parametrize("chunks", [1, 3])
def test_node_opens_what_python_puts(fresh_name: Callable[..., str], chunks: int) -> None:
    name = fresh_name()
    table = pa.concat_tables([sample()] * chunks)
    ndshm.put_table(name, table)
    assert ndshm.open_table(name).equals(table.unify_dictionaries())
    assert ndshm.stat(name).kind == "table"
    script = """
    using opened = ndshm.openTable(given);
    const { table } = opened;
    const row = table.get(1);
    const x = table.getChild('x').data[0].values;
    console.log(JSON.stringify([table.numRows, row.toJSON(), x.buffer.byteLength, ndshm.stat(given).kind]));
    """.replace("using opened", "const opened")
    rows, row, mapped, kind = run_node("BigInt.prototype.toJSON = function () { return Number(this); };" + script, name)
    assert (rows, mapped, kind) == (1000 * chunks, os.stat(f"/dev/shm/{name}").st_size, "table")
    assert row == {"x": 0.25, "n": 1, "text": "text 1", "word": "no", "list": [1, 2], "pair": {"a": 1, "b": False}}
    ndshm.unlink(name)


def test_chunks_with_different_dictionaries_are_put_with_one(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    parts = [pa.table({"w": pa.array(words).dictionary_encode()}) for words in (["a", "b"], ["c", "a"])]
    ndshm.put_table(name, pa.concat_tables(parts))
    assert ndshm.open_table(name).column("w").to_pylist() == ["a", "b", "c", "a"]
    ndshm.unlink(name)


def test_error_replace_and_readers_who_keep_the_old_table(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    ndshm.put_table(name, {"a": [1]})
    with pytest.raises(FileExistsError):
        ndshm.put_table(name, {"a": [2]})
    old = ndshm.open_table(name)
    ndshm.put_table(name, {"a": [3]}, if_exists="replace")
    assert [table.column("a").to_pylist() for table in (old, ndshm.open_table(name))] == [[1], [3]]
    ndshm.unlink(name)


def test_what_is_no_arrow_file_is_an_error(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    ndshm.put_table(name, sample())
    path = f"/dev/shm/{name}"
    size = os.stat(path).st_size
    for length in (size - 1, size // 2, 100, 8, 1, 0):
        os.truncate(path, length)
        with pytest.raises(ndshm.Error) as caught:
            ndshm.open_table(name)
        assert caught.value.code == "ERR_NDSHM_FORMAT"
    ndshm.unlink(name)
    with pytest.raises(FileNotFoundError):
        ndshm.open_table(name)


def test_wrong_arguments_leave_nothing(fresh_name: Callable[..., str]) -> None:
    before = set(os.listdir("/dev/shm"))
    for arguments, options, code in [
        ((fresh_name(), object()), {}, "ERR_NDSHM_INVALID_ARGUMENT"),
        (("a/b", {"a": [1]}), {}, "ERR_NDSHM_INVALID_NAME"),
        ((fresh_name(), {"a": [1]}), {"if_exists": "open"}, "ERR_NDSHM_OUT_OF_RANGE"),
    ]:
        with pytest.raises(ndshm.Error) as caught:
            ndshm.put_table(*arguments, **options)
        assert caught.value.code == code
    assert set(os.listdir("/dev/shm")) == before
