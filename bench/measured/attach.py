"""Attaches again and again in one of two ways; prints the times in microseconds."""
import inspect
import json
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from time import perf_counter_ns

import numpy as np

given = json.loads(sys.argv[1])
name, path, element = given["name"], given["path"], given["element"]
shape = (given["bytes"] // 8,)
HEADER_BYTES = 4096

# Before 3.13 every attachment is also registered with a tracker process, which would unlink the segment in the end.
can_untrack = "track" in inspect.signature(SharedMemory).parameters
options = {"track": False} if can_untrack else {}


def attach_shared_memory():
    memory = SharedMemory(name=name, **options)
    array = np.ndarray(shape, dtype="float64", buffer=memory.buf, offset=HEADER_BYTES)
    return memory, array, array[element]


def close_shared_memory(memory):
    memory.close()
    if not can_untrack:
        resource_tracker.unregister(memory._name, "shared_memory")


def attach_load():
    array = np.load(path, mmap_mode="r")
    return None, array, array[element]


attach, close = {
    "Python SharedMemory + np.ndarray": (attach_shared_memory, close_shared_memory),
    "np.load(mmap_mode='r')": (attach_load, lambda memory: None),
}[given["way"]]

attached, closed = [], []
for _ in range(given["attaches"]):
    start = perf_counter_ns()
    memory, array, value = attach()
    ready = perf_counter_ns()
    del array
    close(memory)
    attached.append((ready - start) / 1000)
    closed.append((perf_counter_ns() - start) / 1000)
    assert value == 0

def quantile(values, q):
    return sorted(values)[int(len(values) * q)]

print(json.dumps({
    "first": attached[0],
    "median": quantile(attached, 0.5),
    "p90": quantile(attached, 0.9),
    "whole": quantile(closed, 0.5),
}))
