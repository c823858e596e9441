"""Goes through the C ABI by what Python does with it, threads and forks too: scripts/sanitize.sh runs it."""

import os
import threading

import ndshm

SECONDS = 60
THREADS = 4
ROUNDS = 200


def count(name):
    """All threads by one attachment, and one of each thread's own."""
    with ndshm.create(name, shape=(3,), dtype="int64") as shared:

        def both():
            with ndshm.open(name, mode="r+") as own:
                for _ in range(ROUNDS):
                    for array in (shared, own):
                        with array.write(timeout=SECONDS):
                            array[0] += 1
                        array.snapshot(lambda a: a.sum())
                    with own.read(timeout=SECONDS):
                        assert own[0] > 0

        threads = [threading.Thread(target=both) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shared[0] == 2 * THREADS * ROUNDS

        child = os.fork()
        if child == 0:
            with shared.write(timeout=SECONDS):
                shared[0] = 0
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with shared.write(timeout=SECONDS):
            assert shared[0] == 0
        shared.unlink()


def told(name):
    """A thread waits for what another one does."""
    with ndshm.create(name, shape=(1,), dtype="int64") as shared:
        seen = shared.version
        with ndshm.open(name, mode="r+") as other:

            def write():
                with other.write(timeout=SECONDS):
                    other[0] = 7

            thread = threading.Thread(target=write)
            thread.start()
            shared.changed(since=seen, timeout=SECONDS)
            thread.join()
        assert shared[0] == 7
        shared.unlink()


def stored(name):
    with ndshm.Store.open(name, capacity=2**24) as store:
        refs = [store.put({"n": n, "bytes": bytes(100_000)}) for n in range(20)]
        assert [store.get(ref)["n"] for ref in refs] == list(range(20))


prefix = f"ndshm-exercise-{os.getpid()}"
count(f"{prefix}-count")
told(f"{prefix}-told")
stored(f"{prefix}-store")
print("exercised")
