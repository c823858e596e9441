"""polars over segments."""

from __future__ import annotations

from typing import Callable

import numpy as np
import polars as pl

import ndshm
from one_shot import file_at, run_node


def test_a_frame_over_a_table_of_node_copies_nothing(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    script = """
    const x = Float64Array.from({ length: 1000 }, (_, n) => n / 4);
    ndshm.putTable(given, arrow.tableFromArrays({ x, n: Int32Array.from(x) }));
    """
    run_node(script, name)
    frame = pl.from_arrow(ndshm.open_table(name))
    assert isinstance(frame, pl.DataFrame)
    for column in ("x", "n"):
        address = frame[column].to_numpy(allow_copy=False).__array_interface__["data"][0]
        assert file_at(address) == f"/dev/shm/{name}"
    assert frame["x"].sum() == 999 * 1000 / 8
    ndshm.unlink(name)


def test_read_ipc_and_scan_ipc_read_it_as_it_is(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    run_node("ndshm.putTable(given, arrow.tableFromArrays({ x: [1.5, null], word: ['ja', 'no'] }));", name)
    expected = {"x": [1.5, None], "word": ["ja", "no"]}
    assert pl.read_ipc(f"/dev/shm/{name}").to_dict(as_series=False) == expected
    picked = pl.scan_ipc(f"/dev/shm/{name}").filter(pl.col("word") == "no").select("word").collect()
    assert picked.to_dict(as_series=False) == {"word": ["no"]}
    ndshm.unlink(name)


def test_node_opens_what_polars_puts_or_writes(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    frame = pl.DataFrame({"x": [1.5, None], "text": ["short", "a text that is too long to lie in a view"]})
    read = """
    const opened = ndshm.openTable(given);
    console.log(JSON.stringify(opened.table.toArray().map((row) => row.toJSON())));
    """
    ndshm.put_table(name, frame)
    assert run_node(read, name) == frame.to_dicts()
    frame.write_ipc(f"/dev/shm/{name}", compression="uncompressed")
    assert run_node(read, name) == frame.to_dicts()
    ndshm.unlink(name)


def test_a_series_over_an_array_shows_what_is_there(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    with ndshm.from_array(name, np.arange(5.0)) as array:
        assert pl.Series("x", np.asarray(array)).to_list() == [0.0, 1.0, 2.0, 3.0, 4.0]
    ndshm.unlink(name)
