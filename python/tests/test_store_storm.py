"""SIGKILL at random points of Node and Python processes that use one store.

NDSHM_STORM_KILLS=200 for a long run, NDSHM_STORM_SEED to repeat one as far as the kernel's scheduling allows.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ndshm
from ndshm import Store
from node import NODE
from store_storm import check, words_of
from stores import MEBIBYTE, existing_bytes, segments_of

HERE = Path(__file__).resolve().parent
KILLS = int(os.environ.get("NDSHM_STORM_KILLS", "12"))
SEED = int(os.environ.get("NDSHM_STORM_SEED", str(time.time_ns() % 2**31)))
AT_ONCE = 3


class Stormer:
    def __init__(self, name: str, number: int) -> None:
        seed = str((SEED + 7919 * number) % 2**31)
        command = (
            [NODE, str(HERE / "store_storm.cjs")] if number % 2 == 0 else [sys.executable, str(HERE / "store_storm.py")]
        )
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        self.process = subprocess.Popen([*command, name, seed], stdout=subprocess.PIPE, env=environment, bufsize=0)

    def rounds(self, count: int) -> None:
        """Waits for so many."""
        assert self.process.stdout is not None
        heard = b""
        end = time.monotonic() + 60
        while heard.count(b"round\n") < count:
            left = max(0.0, end - time.monotonic())
            assert select.select([self.process.stdout], [], [], left)[0], f"seed {SEED}: no sign of life"
            some = os.read(self.process.stdout.fileno(), 1 << 16)
            heard += some
            assert some and b"broken" not in heard, f"seed {SEED}: {heard.decode()}"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(30) == -signal.SIGKILL, f"seed {SEED}"
        assert self.process.stdout is not None
        self.process.stdout.close()


def spin(seconds: float) -> None:
    """Lets some time pass that is no multiple of anything."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def look_at_all(store: Store) -> int:
    """How many of the objects were looked at. They are whole."""
    looked = 0
    for each in store.list():
        if each.state not in ("sealed", "spilled"):
            continue
        try:
            check(store.get(each.ref))
        except ndshm.Error as error:
            if error.code != "ERR_NDSHM_STALE_HANDLE":
                raise
            continue
        looked += 1
    return looked


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize(("capacity", "spills"), [("64MiB", False), ("3MiB", True)])
def test_after_each_kill_the_objects_are_whole_and_in_the_end_nothing_has_leaked(
    fresh_name, tmp_path, capacity, spills
):
    choose = random.Random(SEED)
    name = fresh_name()
    store = Store.open(name, capacity=capacity, spill_dir=tmp_path if spills else None)
    # Somebody deletes it sooner or later; its pages are ours to read all the same.
    held = words_of(store.get(store.put({"words": np.arange(100_000, dtype=np.int32)})))
    running = [Stormer(name, number) for number in range(min(AT_ONCE, KILLS))]
    looked = spilled = 0
    try:
        for number in range(len(running), KILLS + len(running)):
            victim = running.pop(choose.randrange(len(running)))
            victim.rounds(1 + choose.randrange(4))
            spin(choose.random() / 1000)
            victim.kill()
            spilled += store.stat().spilled_objects
            looked += look_at_all(store)
            if number < KILLS:
                running.append(Stormer(name, number))
    finally:
        for each in running:
            each.kill()
    looked += look_at_all(store)
    assert looked > 0
    assert (spilled > 0) == spills

    objects = store.list()
    assert [each for each in objects if each.state == "making"] == []
    stat = store.stat()
    assert stat.used_bytes == existing_bytes(name)
    assert stat.used_bytes <= stat.capacity_bytes
    check(held)
    del held
    assert store.get(store.put("serves")) == "serves"
    for each in store.list():
        assert store.delete(each.ref) == (each.state != "deleted"), f"seed {SEED}"
    stat = store.stat()
    assert (stat.objects, stat.object_bytes, stat.used_bytes) == (0, 0, existing_bytes(name))
    assert stat.used_bytes - stat.ready_bytes < 2 * MEBIBYTE  # chunks of rows
    store.close()
    assert segments_of(name) == set()
    assert os.listdir(tmp_path) == []
