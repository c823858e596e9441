"""Puts small objects into Ray's object store and gets them; prints microseconds."""
import json
import statistics
import sys
from time import perf_counter_ns

import ray
from ray_session import ray_session
from small_values import small_values

given = json.loads(sys.argv[1])
BATCH = 100


@ray.remote
class Reader:
    def get_all(self, refs):
        start = perf_counter_ns()
        for ref in refs:
            ray.get(ref)
        return (perf_counter_ns() - start) / 1e3 / len(refs)


def put_and_get(value):
    start = perf_counter_ns()
    for _ in range(BATCH):
        ray.get(ray.put(value))
    return (perf_counter_ns() - start) / 1e3 / BATCH


def get_elsewhere(reader, value):
    return ray.get(reader.get_all.remote([ray.put(value) for _ in range(BATCH)]))


def median_of(work):
    work()  # the first time connects and imports
    times = []
    end = perf_counter_ns() + given["milliseconds"] * 1e6
    while not times or perf_counter_ns() < end:
        times.append(work())
    return statistics.median(times)


with ray_session(given["capacity"]):
    reader = Reader.remote()
    results = {}
    for name, value in small_values().items():
        results[name] = {
            "putGet": median_of(lambda: put_and_get(value)),
            "getElsewhere": median_of(lambda: get_elsewhere(reader, value)),
        }
    print(json.dumps(results))
