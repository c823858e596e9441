"""Names for tests, and what they owe: /dev/shm is afterwards as it was."""

from __future__ import annotations

import os
import re
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

# Shells start what runs in the background with SIGINT ignored, which Python and its children would keep.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHM = Path("/dev/shm")
# One session runs all test files; others may run at the same time.
SESSION = f"ndshm-test-{os.getpid()}-{secrets.token_hex(3)}-"
OURS = re.compile(r"^(ndshm-|\.ndshm-|pool-)")
SOMEBODYS_TEST = re.compile(r"^ndshm-test-(\d+)-")
QUOTED = re.compile(r"""(["'])([A-Za-z0-9_-][A-Za-z0-9._-]*)\1""")


def names_in_shm() -> set[str]:
    return {entry.name for entry in SHM.iterdir()}


def belongs_to_a_living_session(name: str) -> bool:
    match = SOMEBODYS_TEST.match(name)
    return match is not None and int(match[1]) != os.getpid() and Path("/proc", match[1]).exists()


def remove(name: str) -> None:
    path = SHM / name
    if path.is_dir():
        for below in path.iterdir():
            below.unlink()
        path.rmdir()
    else:
        path.unlink()


@pytest.fixture
def fresh_name(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """fresh_name(hint="a"): a segment name that no other test uses. What is left under it is removed after the test."""
    prefix = f"{SESSION}{secrets.token_hex(3)}-"
    given: list[str] = []

    def fresh(hint: str = "a") -> str:
        given.append(hint)
        return f"{prefix}{hint}-{len(given)}"

    yield fresh
    for name in names_in_shm():
        if name.startswith(prefix):
            remove(name)


@pytest.fixture(scope="session", autouse=True)
def shm_stays_as_it_was() -> Iterator[None]:
    """Fails the last test if any has left something."""
    before = names_in_shm()
    yield
    left = {name for name in names_in_shm() - before if OURS.match(name) and not belongs_to_a_living_session(name)}
    assert not left, f"The tests left in /dev/shm: {', '.join(sorted(left))}"


@pytest.fixture(autouse=True)
def example_cleans_up(request: pytest.FixtureRequest) -> Iterator[None]:
    """An example uses names of its own: those in quotes."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    examples = request.node.dtest.examples
    names = {match[2] for example in examples for match in QUOTED.finditer(example.source)}
    taken = {name for name in names if (SHM / name).exists()}
    assert not taken, f"In /dev/shm there is already: {', '.join(sorted(taken))}"
    yield
    left = {name for name in names if (SHM / name).exists()}
    for name in left:
        remove(name)
    assert not left, f"The example left in /dev/shm: {', '.join(sorted(left))}"
