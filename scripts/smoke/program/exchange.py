"""What must work wherever the wheel is installed: an array shared with Node, and a lock that Node dies with.

exchange.py COMMAND   the command that starts Node, as JSON. Prints one line that starts with OK, or fails.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import ndshm

COMMAND = json.loads(sys.argv[1])
SECONDS = 60


def node(name, what):
    peer = Path(__file__).with_name("python-peer.cjs")
    return subprocess.Popen([*COMMAND, str(peer), name, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def handed_over(a):
    """Each sees what the other writes, and is told of it."""
    seen = a.version
    with node(a.name, "exchange") as peer:
        while not (a == 2).all():
            seen = a.changed(since=seen, timeout=SECONDS)
        with a.write(timeout=SECONDS):
            a[...] = 5
        said, _ = peer.communicate(timeout=SECONDS)
    assert (peer.returncode, said) == (0, "30\n"), (peer.returncode, said)


def recovered(a):
    """Who dies inside blocks nobody, and the next one is told."""
    with node(a.name, "hold") as peer:
        assert peer.stdout.readline() == "inside\n"
        peer.kill()
    with a.write(on_abandoned="repair", timeout=SECONDS) as hold:
        assert hold.abandoned


def main():
    name = f"ndshm-smoke-{os.getpid()}-python"
    with ndshm.create(name, shape=(2, 3), dtype="float64") as a:
        try:
            a[...] = 1
            handed_over(a)
            recovered(a)
        finally:
            a.unlink()
    assert not Path("/dev/shm", name).exists()
    print(f"OK Python {platform.python_version()} {platform.machine()}")


main()
