"""Kills the owner of a multiprocessing.Lock; prints whether a waiter gets the lock within the seconds given."""
import json
import multiprocessing
import os
import signal
import sys
from time import sleep

given = json.loads(sys.argv[1])


def own(lock, held):
    lock.acquire()
    held.set()
    sleep(60)


context = multiprocessing.get_context("fork")
lock, held = context.Lock(), context.Event()
owner = context.Process(target=own, args=(lock, held))
owner.start()
held.wait()
os.kill(owner.pid, signal.SIGKILL)
owner.join()
print(json.dumps({"recovered": lock.acquire(timeout=given["seconds"])}))
