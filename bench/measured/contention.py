"""Several processes increment one counter under multiprocessing.Lock; prints each one's increments and longest stall."""
import json
import multiprocessing
import sys
from time import perf_counter_ns

given = json.loads(sys.argv[1])
BATCH = 64


def increment(lock, counter, start, results):
    start.wait()
    count, longest = 0, 0
    began = last = perf_counter_ns()
    while last - began < given["milliseconds"] * 1e6:
        for _ in range(BATCH):
            with lock:
                counter.value += 1
        count += BATCH
        now = perf_counter_ns()
        longest = max(longest, now - last)
        last = now
    results.put({"count": count, "longest": longest / 1e6})


context = multiprocessing.get_context("fork")
lock, counter = context.Lock(), context.RawValue("q", 0)
start, results = context.Barrier(given["processes"]), context.Queue()
children = [
    context.Process(target=increment, args=(lock, counter, start, results)) for _ in range(given["processes"])
]
for child in children:
    child.start()
members = [results.get(timeout=60) for _ in children]
for child in children:
    child.join()
assert counter.value == sum(each["count"] for each in members)
print(json.dumps({"members": members, "counter": counter.value}))
