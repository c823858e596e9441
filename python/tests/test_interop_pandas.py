"""pandas over segments."""

from __future__ import annotations

from typing import Callable

import numpy as np
import pandas as pd

import ndshm
from ndshm.codec import decode, to_bytes
from one_shot import file_at


def address_of(values: np.ndarray) -> int:
    return values.__array_interface__["data"][0]


def test_a_frame_over_an_array_of_columns_copies_nothing(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    with ndshm.create(name, (1000, 3), "float64", order="F") as prices:
        frame = pd.DataFrame(np.asarray(prices), columns=["open", "high", "low"], copy=False)
        column = frame["high"].to_numpy()
        assert np.shares_memory(column, np.asarray(prices))
        prices[7, 1] = 42.0
        assert frame.loc[7, "high"] == 42.0
        assert frame["high"].sum() == 42.0
    ndshm.unlink(name)


def test_a_frame_over_tensors_copies_nothing(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    ndshm.put_tensors(name, {"price": np.arange(5.0), "count": np.arange(5)})
    with ndshm.open_tensors(name) as columns:
        series = {key: pd.Series(values, copy=False) for key, values in columns.items()}
        frame = pd.DataFrame(series, copy=False)
        for key in columns:
            assert np.shares_memory(frame[key].to_numpy(), columns[key])
        assert frame["count"].sum() == 10
    ndshm.unlink(name)


def test_a_frame_of_a_table_copies_nothing_and_goes_back(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    frame = pd.DataFrame({"price": np.arange(1000) / 4, "word": ["ja", "no"] * 500})
    ndshm.put_table(name, frame)
    table = ndshm.open_table(name)
    mapped = table.to_pandas(types_mapper=pd.ArrowDtype)
    prices = mapped["price"].array.__arrow_array__().chunk(0)
    assert file_at(prices.buffers()[1].address) == f"/dev/shm/{name}"
    assert mapped["price"].tolist() == frame["price"].tolist()
    assert mapped["word"].tolist() == frame["word"].tolist()
    plain = table.select(["price"]).to_pandas(zero_copy_only=True, split_blocks=True)
    assert file_at(address_of(plain["price"].to_numpy())) == f"/dev/shm/{name}"
    ndshm.unlink(name)


def test_read_feather_reads_a_table_and_a_feather_file_is_one(fresh_name: Callable[..., str]) -> None:
    name = fresh_name()
    ndshm.put_table(name, {"a": [1, 2, 3]})
    assert pd.read_feather(f"/dev/shm/{name}")["a"].tolist() == [1, 2, 3]
    pd.DataFrame({"b": [4, 5]}).to_feather(f"/dev/shm/{name}", compression="uncompressed")
    assert ndshm.open_table(name).column("b").to_pylist() == [4, 5]
    ndshm.unlink(name)


def test_times_are_datetimes_and_no_time_is_an_invalid_date():
    at = pd.Timestamp("2024-01-02T03:04:05.678901Z")
    assert decode(to_bytes(at)) == at.to_pydatetime()
    assert np.isnat(decode(to_bytes(pd.NaT)))
