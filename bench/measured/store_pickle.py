"""Pickles a dict of arrays and takes it apart again; prints the times in milliseconds."""
import json
import pickle
import sys
from time import perf_counter_ns

import numpy as np
from fresh_memory import leave_touched_memory

given = json.loads(sys.argv[1])
byte_length, arrays = given["bytes"], given["arrays"]
value = {f"array{n}": np.full(byte_length // arrays // 8, n + 1.5) for n in range(arrays)}

leave_touched_memory(2 * byte_length)  # the output grows by moving into a larger place
start = perf_counter_ns()
pickled = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
put = (perf_counter_ns() - start) / 1e6

leave_touched_memory(byte_length)
start = perf_counter_ns()
unpickled = pickle.loads(pickled)
get = (perf_counter_ns() - start) / 1e6
assert unpickled[f"array{arrays - 1}"][-1] == arrays + 0.5

print(json.dumps({"put": put, "get": get}))
