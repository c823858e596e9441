"""Takes and releases locks that nobody else wants; prints the nanoseconds of a pair for each."""
import json
import multiprocessing
import statistics
import sys
from time import perf_counter_ns

import ndshm

given = json.loads(sys.argv[1])
BATCH = 5_000


def calls_of(lock):
    acquire, release = lock.acquire, lock.release

    def batch():
        for _ in range(BATCH):
            acquire()
            release()

    return batch


def statements_of(lock):
    def batch():
        for _ in range(BATCH):
            with lock:
                pass

    return batch


def method_of(method):
    def batch():
        for _ in range(BATCH):
            with method():
                pass

    return batch


def median_of(batch):
    times = []
    end = perf_counter_ns() + given["milliseconds"] * 1e6
    while not times or perf_counter_ns() < end:
        start = perf_counter_ns()
        batch()
        times.append((perf_counter_ns() - start) / BATCH)
    return statistics.median(times)


with ndshm.create(given["name"], 8, ephemeral=True) as array:
    mutex = ndshm.Mutex(given["name"] + "-mutex", ephemeral=True)
    lock = multiprocessing.Lock()
    ways = {
        "write": method_of(array.write),
        "read": method_of(array.read),
        "mutex": calls_of(mutex),
        "withMutex": statements_of(mutex),
        "lock": calls_of(lock),
        "withLock": statements_of(lock),
        "rlock": statements_of(multiprocessing.RLock()),
    }
    print(json.dumps({way: median_of(batch) for way, batch in ways.items()}))
    mutex.close()
