"""Two processes answer each other through two multiprocessing.Event; prints the round trip in microseconds."""
import json
import multiprocessing
import os
import sys
from time import perf_counter_ns

given = json.loads(sys.argv[1])
os.sched_setaffinity(0, given["processors"][0])


def answer(ping, pong):
    os.sched_setaffinity(0, given["processors"][1])
    for _ in range(given["rounds"]):
        ping.wait()
        ping.clear()
        pong.set()


context = multiprocessing.get_context("fork")
ping, pong = context.Event(), context.Event()
child = context.Process(target=answer, args=(ping, pong))
child.start()
times = []
last = perf_counter_ns()
for _ in range(given["rounds"]):
    ping.set()
    pong.wait()
    pong.clear()
    now = perf_counter_ns()
    times.append((now - last) / 1000)
    last = now
child.join()
times.sort()
print(json.dumps({"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}))
