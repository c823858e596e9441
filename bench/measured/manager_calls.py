"""Calls a dict of Python's multiprocessing.Manager; prints microseconds, and thousands of calls a second."""
import json
import os
import sys
from multiprocessing import Manager
from threading import Barrier, Thread
from time import perf_counter

from warm_times import warm_times


def one_at_a_time(call, milliseconds):
    times = sorted(warm_times(call, milliseconds))
    median, p99 = (times[int(len(times) * share)] * 1e3 for share in (0.5, 0.99))
    return {"median": median, "p99": p99, "rate": len(times) / sum(times)}


def many_at_once(call, in_flight, milliseconds):
    """A proxy has one call under way for each thread."""
    together = Barrier(in_flight)
    rates = []

    def work():
        call()  # connects
        together.wait()
        start = perf_counter()
        end = start + milliseconds / 1e3
        calls = 0
        while perf_counter() < end:
            call()
            calls += 1
        rates.append(calls / (perf_counter() - start) / 1e3)

    threads = [Thread(target=work) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates)


def main(inFlight, milliseconds, processors):
    os.sched_setaffinity(0, processors)
    with Manager() as manager:
        shared = manager.dict(key=1)
        calls = {"get": lambda: shared["key"], "set": lambda: shared.__setitem__("key", 1)}
        results = {}
        for name, call in calls.items():
            results[name] = one_at_a_time(call, milliseconds)
            results[name]["many"] = many_at_once(call, inFlight, milliseconds)
    print(json.dumps(results))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
