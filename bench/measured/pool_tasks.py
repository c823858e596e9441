"""Has Python's multiprocessing.Pool do trivial tasks, all at once and one by one; prints the microseconds of a task."""
import json
import sys
from multiprocessing import Pool
from statistics import median

from warm_times import warm_times


def increment(x):
    return x + 1


def main(workers, tasks, batch, milliseconds):
    items = range(tasks)
    expected = [item + 1 for item in items]

    def check(results):
        assert results == expected

    def in_turn():
        for n in range(batch):
            assert pool.apply(increment, (n,)) == n + 1

    with Pool(workers) as pool:
        many = warm_times(lambda: check(pool.map(increment, items, chunksize=1)), milliseconds)
        chunks = warm_times(lambda: check(pool.map(increment, items)), milliseconds / 2)
        one = warm_times(in_turn, milliseconds / 2)
    results = {"many": median(many) / tasks, "chunks": median(chunks) / tasks, "one": median(one) / batch}
    print(json.dumps({key: milliseconds * 1e3 for key, milliseconds in results.items()}))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
