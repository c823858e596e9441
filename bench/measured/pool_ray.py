"""The same tasks and the same argument in Ray; prints the microseconds of a task, the milliseconds of an argument."""
import json
import sys
from statistics import median
from time import perf_counter

import numpy as np
import ray
from ray_session import ray_session
from warm_times import warm_times

given = json.loads(sys.argv[1])


@ray.remote
def increment(x):
    return x + 1


@ray.remote
def sample(array):
    return array[0] + array[len(array) // 2] + array[-1]


def milliseconds_of_many(tasks):
    start = perf_counter()
    assert ray.get([increment.remote(n) for n in range(tasks)]) == [n + 1 for n in range(tasks)]
    return (perf_counter() - start) * 1e3


def in_turn():
    for n in range(given["batch"]):
        assert ray.get(increment.remote(n)) == n + 1


def check(result):
    assert ray.get(result) == 4.5


with ray_session(given["capacity"], processors=given["workers"]):
    milliseconds_of_many(given["tasks"] // 10)  # starts the workers
    many = milliseconds_of_many(given["tasks"])
    one = median(warm_times(in_turn, given["milliseconds"]))

    array = np.full(given["elements"], 1.5)
    ref = ray.put(array)
    by_ref = median(warm_times(lambda: check(sample.remote(ref)), given["milliseconds"]))
    plain = median(warm_times(lambda: check(sample.remote(array)), given["milliseconds"]))
    print(
        json.dumps(
            {
                "many": many * 1e3 / given["tasks"],
                "one": one * 1e3 / given["batch"],
                "ref": by_ref,
                "plain": plain,
            }
        )
    )
