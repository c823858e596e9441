"""Pickles small objects and takes them apart again; prints microseconds."""
import json
import pickle
import statistics
import sys
from time import perf_counter_ns

from small_values import small_values

given = json.loads(sys.argv[1])
BATCH = 1000


def microseconds_of(value):
    start = perf_counter_ns()
    for _ in range(BATCH):
        pickle.loads(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
    return (perf_counter_ns() - start) / 1e3 / BATCH


def median_of(value):
    times = []
    end = perf_counter_ns() + given["milliseconds"] * 1e6
    while not times or perf_counter_ns() < end:
        times.append(microseconds_of(value))
    return statistics.median(times)


print(json.dumps({name: {"putGet": median_of(value)} for name, value in small_values().items()}))
