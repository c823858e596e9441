"""Opens an array again and again in one of several ways, and reads an element; prints the times in microseconds."""
import inspect
import json
import statistics
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from time import perf_counter_ns

import ndshm
import numpy as np

given = json.loads(sys.argv[1])
HEADER_BYTES = 4096
element = given["bytes"] // 16  # in the middle: its page is not mapped yet

# Before 3.13 every attachment is also registered with a tracker process, which would unlink the segment in the end.
can_untrack = "track" in inspect.signature(SharedMemory).parameters


def shared_memory():
    memory = SharedMemory(given["name"], **({"track": False} if can_untrack else {}))
    return memory, np.ndarray(given["bytes"] // 8, "f8", memory.buf, HEADER_BYTES)


def close_shared_memory(memory):
    memory.close()
    if not can_untrack:
        resource_tracker.unregister(memory._name, "shared_memory")


def opened():
    array = ndshm.open(given["name"])
    return array, array


def loaded():
    return None, np.load(given["path"], mmap_mode="r")


attach, close = {
    "open": (opened, lambda array: array.close()),
    "sharedMemory": (shared_memory, close_shared_memory),
    "load": (loaded, lambda nothing: None),
}[given["way"]]

times, whole = [], []
for _ in range(given["times"]):
    start = perf_counter_ns()
    owner, array = attach()
    value = array[element]
    ready = perf_counter_ns()
    del array
    close(owner)
    del owner
    times.append((ready - start) / 1000)
    whole.append((perf_counter_ns() - start) / 1000)
    assert value == 0
print(json.dumps({"opened": statistics.median(times), "whole": statistics.median(whole)}))
