"""Puts dicts of arrays into Ray's object store and gets them in workers; prints milliseconds (put) and microseconds (get)."""
import json
import statistics
import sys
import time
from time import perf_counter_ns

import numpy as np
import ray
from fresh_memory import leave_touched_memory
from ray_session import ray_session

given = json.loads(sys.argv[1])


def dict_of_arrays(byte_length, arrays):
    return {f"array{n}": np.full(byte_length // arrays // 8, n + 1.5) for n in range(arrays)}


def microseconds_since(start):
    return (perf_counter_ns() - start) / 1e3


@ray.remote
class Reader:
    """A worker process of its own."""

    def first(self, refs):
        [ref] = refs
        start = perf_counter_ns()
        ray.get(ref)
        return microseconds_since(start)

    def get(self, refs, arrays, gets):
        [ref] = refs
        start = perf_counter_ns()
        value = ray.get(ref)
        first = microseconds_since(start)
        assert value[f"array{arrays - 1}"][-1] == arrays + 0.5

        start = perf_counter_ns()
        total = sum(array[::512].sum() for array in value.values())
        visit = microseconds_since(start)
        assert total > 0

        again = []
        for _ in range(gets):
            value = None  # nobody in this process holds the object any more
            start = perf_counter_ns()
            value = ray.get(ref)
            again.append(microseconds_since(start))

        held = []
        for _ in range(gets):
            start = perf_counter_ns()
            also = ray.get(ref)
            held.append(microseconds_since(start))
            del also

        return {
            "first": first,
            "again": statistics.median(again),
            "p90": sorted(again)[int(len(again) * 0.9)],
            "held": statistics.median(held),
            "visit": visit,
        }


def milliseconds_of_put(value):
    start = perf_counter_ns()
    ref = ray.put(value)
    return ref, (perf_counter_ns() - start) / 1e6


def let_go():
    # Freeing is asynchronous and says nothing when it is done. Too early would only make the next put slower.
    time.sleep(0.5)


with ray_session(given["capacity"]):
    large = dict_of_arrays(given["bytes"], given["arrays"])
    leave_touched_memory(given["bytes"])
    ref, fresh = milliseconds_of_put(large)
    del ref
    let_go()
    puts = []
    for _ in range(given["puts"] + 1):
        # The first of these goes to the half of the store that is fresh still.
        ref, milliseconds = milliseconds_of_put(large)
        puts.append(milliseconds)
        del ref
        let_go()

    reader = Reader.remote()
    # Too large to travel inside the message that tells of it.
    first = ray.get(reader.first.remote([ray.put(dict_of_arrays(1_000_000, 1))]))
    gets = []
    for form in given["forms"]:
        is_large = form["bytes"] == given["bytes"]
        ref = ray.put(large if is_large else dict_of_arrays(form["bytes"], form["arrays"]))
        gets.append(ray.get(reader.get.remote([ref], form["arrays"], given["gets"])))
        del ref
    print(json.dumps({"fresh": fresh, "recycled": statistics.median(puts[1:]), "first": first, "gets": gets}))
