"""Puts a numpy array into a dict of Python's multiprocessing.Manager and gets it back; prints the milliseconds of each."""
import json
import sys
from multiprocessing import Manager
from statistics import median

import numpy as np
from warm_times import warm_times


def main(elements, milliseconds):
    array = np.arange(elements, dtype=np.float64)
    with Manager() as manager:
        shared = manager.dict()

        def get():
            assert shared["key"][-1] == elements - 1

        put = warm_times(lambda: shared.__setitem__("key", array), milliseconds)
        got = warm_times(get, milliseconds)
    print(json.dumps({"set": median(put), "get": median(got)}))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
