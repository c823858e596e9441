"""What the tests of stores have in common."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

MEBIBYTE = 2**20
SHM = Path("/dev/shm")


def pattern(byte_length: int, seed: int = 0) -> np.ndarray:
    """Bytes that tell where they are from: their offset, modulo a prime, and the seed."""
    period = np.arange(min(byte_length, 65_537), dtype=np.uint32) * 2654435761 >> 20
    return np.resize((period + seed).astype(np.uint8), byte_length)


def segments_of(name: str) -> set[str]:
    """What is in /dev/shm of a store or table."""
    return {found.name for found in SHM.iterdir() if found.name == name or found.name.startswith(f"{name}.")}


def existing_bytes(name: str) -> int:
    """What a store's pages take of memory, as the kernel counts; without header and control block."""
    return (SHM / f"{name}.pages.0").stat().st_blocks * 512 - 6 * 4096


def resident_bytes(kind: str) -> int:
    """Of this process: 'RssAnon', or 'RssShmem'."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(kind)


class ForkedChild:
    """A forked child in the middle of a function; it says what it likes by lines, and is gone at the end."""

    def __init__(self, pid: int, lines: Iterator[bytes], go: Callable[[], None]) -> None:
        self.pid = pid
        self._lines = lines
        self.go = go

    def line(self) -> str:
        return next(self._lines).decode().rstrip("\n")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def ended(self) -> int:
        """Its exit code, or the negative number of the signal that has ended it, once it has."""
        status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert status is not None
        return status.si_status if status.si_code == os.CLD_EXITED else -status.si_status


@contextmanager
def forked(function: Callable[[Callable[[str], None], Callable[[], None]], None]) -> Iterator[ForkedChild]:
    """Runs `function(say, wait)` in a forked child; `wait` returns at child.go(), and the child ends when it has."""
    said, saying = os.pipe()
    waited, going = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which some tests are about
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(60)
            os.close(going)
            function(lambda text: os.write(saying, f"{text}\n".encode()) and None, lambda: os.read(waited, 1) and None)
            code = 0
        except BaseException as error:
            os.write(saying, f"{error!r}\n".encode())
        finally:
            os._exit(code)
    os.close(saying)
    os.close(waited)
    with os.fdopen(said, "rb") as lines:
        child = ForkedChild(pid, iter(lines), lambda: os.write(going, b"!") and None)
        try:
            yield child
        finally:
            os.close(going)
            os.waitpid(pid, 0)
