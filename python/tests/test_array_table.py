"""A table of arrays by integer handle."""

from __future__ import annotations

import os

import numpy as np
import pytest

import ndshm
from ndshm import ArrayTable
from node import Node
from stores import SHM, forked, segments_of


@pytest.fixture
def table(fresh_name):
    opened = ArrayTable.open(fresh_name("table"), ephemeral=True)
    yield opened
    opened.close()


def code_of(call) -> str:
    with pytest.raises((ndshm.Error, OSError)) as raised:
        call()
    return raised.value.code


def test_an_array_is_found_by_its_handle(table):
    handle = table.create_array((10, 3), "float32", order="F")
    assert isinstance(handle, int)
    with table.get_array(handle) as array, table.get_array(handle) as other:
        assert (array.shape, array.dtype, array.mode) == ((10, 3), np.float32, "r+")
        assert array.flags.f_contiguous
        assert not array.any()
        with array.write():
            array[2, 1] = 7
        assert other[2, 1] == 7
    with table.get_array(handle, mode="r") as array, pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    assert table.has(handle)
    assert table.handles() == [handle]


def test_a_freed_handle_is_stale_for_ever(table):
    handle = table.create_array(3, "int64")
    held = table.get_array(handle)
    table.free_array(handle)
    following = table.create_array(4, "int64")
    assert following != handle
    assert not table.has(handle)
    assert code_of(lambda: table.get_array(handle)) == "ERR_NDSHM_STALE_HANDLE"
    assert code_of(lambda: table.free_array(handle)) == "ERR_NDSHM_STALE_HANDLE"
    held[0] = 5
    assert held[0] == 5
    held.close()
    table.free_array(following)
    assert table.handles() == []
    assert segments_of(table.name) == {table.name, f"{table.name}.pages.0"}


@pytest.mark.parametrize("name", ["_discard", "rows.free"])
def test_an_array_that_was_being_freed_at_an_interrupt_is_gone(table, monkeypatch, name):
    handle = table.create_array(3)
    path, _, method = name.rpartition(".")
    owner = getattr(table._heap, path) if path else table._heap
    do = getattr(owner, method)

    def interrupted(row):
        monkeypatch.undo()
        do(row)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        table.free_array(handle)
    assert not table.has(handle)
    assert table.handles() == []
    assert len(segments_of(table.name)) == 2
    assert table.create_array(3) != handle


def test_init_fills_the_array_before_anybody_can_get_it(table):
    def init(array):
        assert table.handles() == []
        array[:] = [1, 2, 3]

    with table.get_array(table.create_array(3, "int8", init=init)) as array:
        assert array.tolist() == [1, 2, 3]


def test_an_init_that_raises_leaves_nothing(table):
    def init(array):
        raise KeyError("mine")

    before = segments_of(table.name)
    with pytest.raises(KeyError, match="mine"):
        table.create_array(3, "int8", init=init)
    assert table.handles() == []
    assert len(segments_of(table.name) - before) <= 1  # the reservoir


def test_an_init_that_closes_the_table_leaves_nothing(fresh_name):
    table = ArrayTable.open(fresh_name(), ephemeral=True)
    assert code_of(lambda: table.create_array(3, "int8", init=lambda _: table.close())) == "ERR_NDSHM_CLOSED"
    assert segments_of(table.name) == set()


@pytest.mark.parametrize("handle", [None, "0", 1.0, True])
def test_a_handle_of_the_wrong_kind_is_refused(table, handle):
    for call in (table.get_array, table.free_array, table.has):
        assert code_of(lambda call=call: call(handle)) == "ERR_NDSHM_INVALID_ARGUMENT"


@pytest.mark.parametrize("handle", [-1, 2**53])
def test_a_handle_out_of_range_is_refused(table, handle):
    for call in (table.get_array, table.free_array, table.has):
        assert code_of(lambda call=call: call(handle)) == "ERR_NDSHM_OUT_OF_RANGE"


@pytest.mark.parametrize("handle", [0, 1, 1024, 2**29, 2**53 - 1])
def test_a_handle_that_was_never_given_is_stale(table, handle):
    assert not table.has(handle)
    assert code_of(lambda: table.get_array(handle)) == "ERR_NDSHM_STALE_HANDLE"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"shape": -1}, "ERR_NDSHM_SHAPE"),
        ({"shape": 1, "dtype": "object"}, "ERR_NDSHM_DTYPE"),
        ({"shape": 1, "order": "K"}, "ERR_NDSHM_OUT_OF_RANGE"),
        ({"shape": 1, "init": 7}, "ERR_NDSHM_INVALID_ARGUMENT"),
    ],
)
def test_an_array_that_cannot_be_leaves_nothing(table, arguments, code):
    assert code_of(lambda: table.create_array(**arguments)) == code
    assert table.handles() == []


def test_many_arrays_make_the_table_grow(table):
    handles = [table.create_array(1, "int32", init=lambda array, n=n: array.fill(n)) for n in range(1100)]
    assert sorted(table.handles()) == sorted(handles)
    with table.get_array(handles[1099]) as array:
        assert array[0] == 1099
    for handle in handles:
        table.free_array(handle)
    assert table.handles() == []


def test_a_table_stays_until_it_is_unlinked(fresh_name):
    name = fresh_name()
    with ArrayTable.open(name) as table:
        handle = table.create_array(3, "int64", init=lambda array: array.fill(7))
    with ArrayTable.open(name) as table, table.get_array(handle) as array:
        assert array.tolist() == [7, 7, 7]
        table.unlink()
        assert code_of(lambda: table.create_array(1)) == "ERR_NDSHM_CLOSED"
        assert array.tolist() == [7, 7, 7]
    ndshm.gc()
    assert segments_of(name) == set()


def test_an_ephemeral_table_goes_with_its_last_process(fresh_name):
    name = fresh_name()
    first, second = (ArrayTable.open(name, ephemeral=True) for _ in range(2))
    handle = first.create_array(3, "int64")
    first.close()
    assert second.has(handle)
    second.close()
    assert segments_of(name) == set()


def test_after_close_every_call_says_so(table):
    handle = table.create_array(3)
    array = table.get_array(handle)
    table.close()
    table.close()
    assert table.closed
    calls = (
        lambda: table.create_array(1),
        lambda: table.get_array(handle),
        lambda: table.free_array(handle),
        lambda: table.has(handle),
        table.handles,
        table.unlink,
    )
    assert {code_of(call) for call in calls} == {"ERR_NDSHM_CLOSED"}
    array[0] = 1
    array.close()


def test_an_array_of_an_earlier_table_is_not_given(fresh_name):
    name = fresh_name()
    with ArrayTable.open(name) as table:
        handle = table.create_array(1, "int64", init=lambda array: array.fill(1))
        held = table.get_array(handle)  # keeps the name of the member
        (SHM / name).unlink()
    with ArrayTable.open(name) as table:
        other = table.create_array(1, "int64")
        assert other != handle
        assert not table.has(handle)
        assert held.tolist() == [1]
        held.close()
        table.unlink()
    ndshm.gc()
    assert segments_of(name) == set()


# ---- processes ----


@pytest.mark.parametrize("at", ["in init", "after it"])
def test_what_a_killed_child_was_making_is_whole_or_not_there(table, at):
    table.free_array(table.create_array(1))

    def child(say, wait):
        def init(array):
            array[:] = 5
            if at == "in init":
                say("inside")
                wait()

        say(str(table.create_array(100, "int8", init=init)))
        wait()

    with forked(child) as it:
        line = it.line()
        it.kill()
    table.free_array(table.create_array(1))  # whoever next makes one clears up
    if at == "in init":
        assert table.handles() == []
        assert segments_of(table.name) == {table.name, f"{table.name}.pages.0"}
    else:
        with table.get_array(int(line)) as array:
            assert array.tolist() == [5] * 100


def test_node_and_python_use_one_table(table):
    mine = table.create_array((2, 3), "float64", init=lambda array: array.fill(1.5))
    with Node("kept.table = ndshm.ArrayTable.open(name);", name=table.name) as node:
        assert (
            node.run("const a = kept.table.getArray(h); const v = a.toNested(); a.close(); return v;", h=mine)
            == [[1.5] * 3] * 2
        )
        theirs = node.run("return kept.table.createArray([4], 'int32', { init: (a) => { a.fill(9); } });")
        assert sorted(table.handles()) == sorted([mine, theirs])
        with table.get_array(theirs) as array:
            assert array.tolist() == [9] * 4
            with array.write():
                array[:] = [1, 2, 3, 4]
            code = "const a = kept.table.getArray(h); const v = a.readSync((x) => x.toNested()); a.close(); return v;"
            assert node.run(code, h=theirs) == [1, 2, 3, 4]
        assert node.run("kept.table.freeArray(h); return kept.table.has(h);", h=mine) is False
        assert code_of(lambda: table.get_array(mine)) == "ERR_NDSHM_STALE_HANDLE"
        table.free_array(theirs)
        assert node.run("return kept.table.handles();") == []
        node.run("kept.table.close();")
    assert os.path.exists(SHM / table.name)
