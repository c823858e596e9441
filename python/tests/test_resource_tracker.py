"""multiprocessing's resource tracker unlinks what it knows of when a process ends. It must know of nothing of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import pytest

import ndshm

PACKAGE = str(Path(__file__).resolve().parents[1])
# A program with the tracker at work, since it has a segment of its own.
PROGRAM = """
import sys
from multiprocessing import shared_memory, resource_tracker
import ndshm
told = []
register = resource_tracker.register
resource_tracker.register = lambda name, kind: (told.append(name), register(name, kind))
own = shared_memory.SharedMemory(create=True, size=8)
before = list(told)
array = ndshm.open(sys.argv[1], 'r+')
made = ndshm.create(sys.argv[2], 3)
raw = ndshm.open_raw(sys.argv[3], 'uint8', mode='r+')
with array.write():
    array[0] = raw[0] = 7
assert told == before, told
own.close()
own.unlink()
if sys.argv[4] == 'killed':
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_a_process_that_has_opened_arrays_and_ends_leaves_them_alone(fresh_name, how):
    name, made = fresh_name(), fresh_name()
    segment = shared_memory.SharedMemory(create=True, size=4096)
    try:
        with ndshm.create(name, 3) as array:
            program = [sys.executable, "-W", "error", "-c", PROGRAM, name, made, segment.name, how]
            ended = subprocess.run(
                program,
                env={**os.environ, "PYTHONPATH": PACKAGE},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert (ended.returncode == 0) == (how == "ended"), ended.stderr
            assert ended.stderr == ""
            assert array[0] == 7
        for each in (name, made, segment.name):
            assert Path("/dev/shm", each).exists()
        assert segment.buf[0] == 7
    finally:
        segment.close()
        segment.unlink()


def test_this_process_tells_the_tracker_nothing(fresh_name, monkeypatch):
    told = []
    segment = shared_memory.SharedMemory(create=True, size=4096)
    monkeypatch.setattr(resource_tracker, "register", lambda *what: told.append(what))
    try:
        ndshm.create(fresh_name(), 3).close()
        ndshm.open_raw(segment.name, "float64", mode="r+").close()
        ndshm.anonymous(3).close()
        with ndshm.watch(fresh_name()):
            pass
    finally:
        monkeypatch.undo()
        segment.close()
        segment.unlink()
    assert told == []
