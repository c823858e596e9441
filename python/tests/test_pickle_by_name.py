"""Primitives, stores and tables as arguments of processes that are spawned, which get them pickled."""

from __future__ import annotations

import multiprocessing
import pickle

import pytest

import ndshm
from sync_peer import SECONDS


def kinds(fresh_name):
    return [
        ndshm.Mutex(fresh_name("mutex"), reentrant=True, ephemeral=True),
        ndshm.RWLock(fresh_name("lock"), ephemeral=True),
        ndshm.Semaphore(fresh_name("semaphore"), 3, ephemeral=True),
        ndshm.Condition(fresh_name("condition"), ephemeral=True),
        ndshm.Event(fresh_name("event"), ephemeral=True),
        ndshm.Barrier(fresh_name("barrier"), 2, ephemeral=True),
        ndshm.Value(fresh_name("value"), "float64", 1.5, ephemeral=True),
        ndshm.Queue(fresh_name("queue"), 7, ephemeral=True),
    ]


def test_each_is_the_same_segment_elsewhere(fresh_name):
    for primitive in kinds(fresh_name):
        again = pickle.loads(pickle.dumps(primitive))
        assert type(again) is type(primitive)
        assert again._state.attachment.id == primitive._state.attachment.id
        assert again._state.me != primitive._state.me
        again.close()
        primitive.close()


def test_what_is_gone_or_replaced_is_not_opened(fresh_name):
    semaphore = ndshm.Semaphore(fresh_name("semaphore"), 3, ephemeral=True)
    pickled = pickle.dumps(semaphore)
    semaphore.close()
    with pytest.raises(ndshm.Error) as raised:
        pickle.loads(pickled)
    assert raised.value.code == "ERR_NDSHM_STALE_HANDLE"
    with pytest.raises(FileNotFoundError):
        ndshm.open(semaphore.name)
    other = ndshm.Semaphore(semaphore.name, 3, ephemeral=True)
    with pytest.raises(ndshm.Error):
        pickle.loads(pickled)
    assert other.value == 3
    other.close()


def test_a_spawned_process_takes_part(fresh_name):
    jobs = ndshm.Queue(fresh_name("queue"), ephemeral=True)
    # A method, since a spawned process could not import this file.
    process = multiprocessing.get_context("spawn").Process(target=jobs.put, args=("from the child",))
    process.start()
    assert jobs.get(timeout=SECONDS) == "from the child"
    process.join(SECONDS)
    assert process.exitcode == 0
    jobs.close()


def test_stores_and_tables_are_the_same_elsewhere(fresh_name):
    with ndshm.Store.open(fresh_name("store"), capacity="1MiB") as store:
        ref = store.put([1, 2, 3])
        with pickle.loads(pickle.dumps(store)) as again:
            assert again.get(pickle.loads(pickle.dumps(ref))) == [1, 2, 3]
    with ndshm.ArrayTable.open(fresh_name("table"), ephemeral=True) as table:
        handle = table.create_array(3)
        with pickle.loads(pickle.dumps(table)) as again, again.get_array(handle) as array:
            assert array.shape == (3,)


@pytest.mark.parametrize("kind", [ndshm.Store, ndshm.ArrayTable])
def test_a_store_or_table_that_is_gone_is_not_made_anew(fresh_name, kind):
    opened = kind.open(fresh_name())
    pickled = pickle.dumps(opened)
    opened.unlink()
    with pytest.raises(ndshm.Error) as raised:
        pickle.loads(pickled)
    assert raised.value.code == "ERR_NDSHM_STALE_HANDLE"
    with pytest.raises(FileNotFoundError):
        ndshm.open(opened.name)
