"""Several processes call one dict of Python's multiprocessing.Manager; prints their thousands of calls a second in sum."""
import json
import sys
from multiprocessing import Barrier, Manager, Process, SimpleQueue

from warm_times import warm_times


def work(shared, together, rates, milliseconds):
    together.wait()
    times = warm_times(lambda: shared["key"], milliseconds)
    rates.put(len(times) / sum(times))


def main(clients, milliseconds):
    together, rates = Barrier(clients), SimpleQueue()
    with Manager() as manager:
        shared = manager.dict(key=1)
        processes = [Process(target=work, args=(shared, together, rates, milliseconds)) for _ in range(clients)]
        for process in processes:
            process.start()
        rate = sum(rates.get() for _ in processes)
        for process in processes:
            process.join()
    print(json.dumps({"rate": rate}))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
