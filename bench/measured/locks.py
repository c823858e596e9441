"""Takes and releases a lock that nobody else wants; prints the nanoseconds of a pair for each kind of lock."""
import json
import multiprocessing
import statistics
import sys
from time import perf_counter_ns

given = json.loads(sys.argv[1])
BATCH = 10_000


def nanoseconds_of(lock):
    acquire, release = lock.acquire, lock.release
    start = perf_counter_ns()
    for _ in range(BATCH):
        acquire()
        release()
    return (perf_counter_ns() - start) / BATCH


def median_of(lock):
    times = []
    end = perf_counter_ns() + given["milliseconds"] * 1e6
    while not times or perf_counter_ns() < end:
        times.append(nanoseconds_of(lock))
    return statistics.median(times)


print(json.dumps({"lock": median_of(multiprocessing.Lock()), "rlock": median_of(multiprocessing.RLock())}))
