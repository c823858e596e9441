"""Creates, closes and unlinks a small array again and again; prints the median in microseconds."""
import json
import statistics
import sys
from multiprocessing.shared_memory import SharedMemory
from time import perf_counter_ns

import numpy as np

given = json.loads(sys.argv[1])

times = []
for _ in range(given["repeats"]):
    start = perf_counter_ns()
    memory = SharedMemory(name=given["name"], create=True, size=8000)
    array = np.ndarray((1000,), dtype="float64", buffer=memory.buf)
    del array
    memory.close()
    memory.unlink()
    times.append((perf_counter_ns() - start) / 1000)

print(json.dumps({"median": statistics.median(times)}))
