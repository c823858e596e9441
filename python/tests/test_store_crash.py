"""A process that ends, or is interrupted, between any two lines of the store's code leaves a store that serves.

NDSHM_STORM_KILLS says how many lines are tried, NDSHM_STORM_SEED which.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ndshm
from ndshm import ArrayTable, Store
from node import Node
from stores import MEBIBYTE, existing_bytes, forked, pattern, segments_of

LINES = int(os.environ.get("NDSHM_STORM_KILLS", "12")) * 2
SEED = int(os.environ.get("NDSHM_STORM_SEED", str(time.time_ns() % 2**31)))
CODE = str(Path(ndshm.__file__).parent / "store")


def lines_of(run: Callable[[], object], at: int | None = None, act: Callable[[], object] = int) -> int:
    """Runs it, with `act` before line `at` of what the store's code does; how many lines that were."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if not frame.f_code.co_filename.startswith(CODE):
            return None
        if event == "line":
            count += 1
            if count == at:
                act()
        return trace

    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(None)
    return count


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    raise KeyboardInterrupt


def use(store: Store) -> None:
    """A little of everything, which leaves nothing."""
    refs = [store.put(pattern(length)) for length in (10, 300_000, 2 * MEBIBYTE, MEBIBYTE)]
    with store.create_array(100_000, "uint8") as draft:
        refs.append(draft.seal())
    store.create_array(10, "uint8").close()
    view = store.get(refs[2])
    for ref in refs:
        store.delete(ref)
    following = store.put(pattern(MEBIBYTE))
    del view
    store.list()
    store.delete(following)


def use_table(table: ArrayTable) -> None:
    handles = [table.create_array(10, init=lambda array: array.fill(1)) for _ in range(3)]
    table.get_array(handles[0]).close()
    for handle in handles:
        table.free_array(handle)


def some_lines(run: Callable[[], object]) -> list[int]:
    """Of a second run, when all is mapped that is mapped once."""
    run()
    total = lines_of(run)
    return sorted(random.Random(SEED).sample(range(1, total + 1), min(LINES, total)))


def expect_to_serve(store: Store, kept: list[ndshm.ObjectRef], when: str) -> None:
    for seed, ref in enumerate(kept):
        assert np.array_equal(store.get(ref), pattern(200_000, seed))
    for each in store.list():
        assert each.state in ("sealed", "spilled"), when
        if each.ref not in kept:
            assert store.delete(each.ref)
    stat = store.stat()
    assert stat.objects == len(kept)
    assert stat.used_bytes == existing_bytes(store.name), when
    assert stat.used_bytes - stat.ready_bytes < 2 * MEBIBYTE  # the kept ones, and chunks of rows


def was_killed(run: Callable[[], object], line: int) -> bool:
    """A forked child runs it, and is killed before the line, unless its run has fewer than the one that was counted."""
    with forked(lambda say, wait: lines_of(run, line, kill) and None) as it:
        ended = it.ended()
        assert ended in (-signal.SIGKILL, 0), f"seed {SEED}, line {line}: {it.line()}"
        return ended != 0


def was_interrupted(store: Store, line: int) -> bool:
    """As was_killed(), but Ctrl-C ends it, which closes the store."""

    def child(say, wait):
        try:
            lines_of(lambda: use(store), line, interrupt)
            say("whole")
        except KeyboardInterrupt:
            say("interrupted")
        store.close()

    with forked(child) as it:
        said = it.line()
        assert (said in ("whole", "interrupted"), it.ended()) == (True, 0), f"seed {SEED}, line {line}: {said}"
        return said == "interrupted"


@pytest.mark.timeout(60 + LINES)
@pytest.mark.parametrize("how", ["killed", "interrupted"])
@pytest.mark.parametrize("spills", [False, True])
def test_a_python_process_may_end_before_any_line(fresh_name, tmp_path, spills, how):
    options = {"capacity": "4MiB", "spill_dir": tmp_path} if spills else {"capacity": "32MiB"}
    with Store.open(fresh_name(), **options) as store, Node() as node:
        node.run("kept.store = ndshm.Store.open(name);", name=store.name)
        kept = [store.put(pattern(200_000, seed)) for seed in range(3)]
        ended = 0
        for line in some_lines(lambda: use(store)):
            ended += was_killed(lambda: use(store), line) if how == "killed" else was_interrupted(store, line)
            # Whoever comes first finds what is left, and sets it right.
            node.run("kept.store.delete(await kept.store.put(new Uint8Array(2 ** 20)));")
            expect_to_serve(store, kept, f"seed {SEED}, line {line}")
            assert node.run("return kept.store.list().length;") == len(kept)
        assert ended > LINES / 2
        node.run("kept.store.close();")
    assert os.listdir(tmp_path) == []


@pytest.mark.timeout(60 + LINES)
def test_a_process_that_uses_a_table_may_be_killed_before_any_line(fresh_name):
    with ArrayTable.open(fresh_name(), ephemeral=True) as table:
        mine = table.create_array(3, init=lambda array: array.fill(7))
        killed = 0
        for line in some_lines(lambda: use_table(table)):
            killed += was_killed(lambda: use_table(table), line)
            table.free_array(table.create_array(3))
            for handle in table.handles():
                with table.get_array(handle) as array:
                    assert array.tolist() == ([7] * 3 if handle == mine else [1] * 10), f"seed {SEED}, line {line}"
                if handle != mine:
                    table.free_array(handle)
            assert len(segments_of(table.name)) == 3, f"seed {SEED}, line {line}"
        assert killed > LINES / 2
