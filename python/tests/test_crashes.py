"""SIGKILL while a lock is held, and the exact counter of all who contend."""

from __future__ import annotations

import os
import time

import pytest

import ndshm
from node import Node
from peer import LIMIT, PeerError
from python import Python

HOLD = {
    Node: "kept.a = ndshm.open(name, { mode: 'r+' });"
    "return new Promise((inside) => { kept.a[access](() => { inside(); return new Promise(() => {}); }); });",
    Python: "kept['a'] = ndshm.open(name, 'r+'); kept['hold'] = getattr(kept['a'], access)(); kept['hold'].__enter__()",
}
# The code of what entering comes to, or 'entered'.
ENTER = {
    Node: "const a = ndshm.open(name, { mode: 'r+' });"
    "try { return await a[access](() => 'entered', { timeoutMs: 20000 }); }"
    "catch (error) { return error.code; } finally { a.close(); }",
    Python: "with ndshm.open(name, 'r+') as a:\n"
    " try:\n  with getattr(a, access)(timeout=20): return 'entered'\n except ndshm.Error as error: return error.code",
}
REPAIR = {
    Node: "const a = ndshm.open(name, { mode: 'r+' });"
    "try { return await a.write((_, hold) => hold.abandoned, { onAbandoned: 'repair' }); } finally { a.close(); }",
    Python: "with ndshm.open(name, 'r+') as a, a.write('repair') as hold: return hold.abandoned",
}
BOTH = [Node, Python]


@pytest.fixture
def a(fresh_name):
    with ndshm.create(fresh_name("crash"), 2, "int64", ephemeral=True) as array:
        yield array


@pytest.mark.parametrize("killed", BOTH)
@pytest.mark.parametrize("next_one", BOTH)
@pytest.mark.parametrize("access", ["write", "read"])
def test_a_killed_writer_is_recovered_and_the_next_one_is_told(a, killed, next_one, access):
    with killed() as victim, next_one() as other:
        victim.run(HOLD[killed], name=a.name, access="write")
        waiting = other.begin(ENTER[next_one], name=a.name, access=access)
        victim.kill()
        assert other.answer(waiting) == "ERR_NDSHM_ABANDONED"
        with pytest.raises(ndshm.Abandoned):
            a.snapshot()
        assert other.run(ENTER[next_one], name=a.name, access=access) == "ERR_NDSHM_ABANDONED"
        assert other.run(REPAIR[next_one], name=a.name) is True
        assert other.run(ENTER[next_one], name=a.name, access=access) == "entered"
        assert a.snapshot().tolist() == [0, 0]


@pytest.mark.parametrize("killed", BOTH)
@pytest.mark.parametrize("next_one", BOTH)
def test_a_killed_reader_is_recovered_and_nobody_is_told(a, killed, next_one):
    with killed() as victim, next_one() as other:
        victim.run(HOLD[killed], name=a.name, access="read")
        waiting = other.begin(ENTER[next_one], name=a.name, access="write")
        victim.kill()
        assert other.answer(waiting) == "entered"


@pytest.mark.parametrize("killed", BOTH)
def test_this_process_recovers_within_its_own_wait(a, killed):
    with killed() as victim:
        victim.run(HOLD[killed], name=a.name, access="write")
        victim.kill()
        began = time.monotonic()
        with a.write("repair") as hold:
            assert hold.abandoned
            assert time.monotonic() - began < 5
            a[0] = 1
        with a.read() as hold:
            assert not hold.abandoned


def test_half_written_data_is_read_by_who_ignores_that(a):
    with Python() as victim:
        victim.run(HOLD[Python] + "\nkept['a'][0] = 7", name=a.name, access="write")
        victim.kill()
    with a.read("ignore") as hold:
        assert hold.abandoned
        assert a[0] == 7
    with pytest.raises(KeyError), a.write("repair"):
        raise KeyError  # it has not repaired it
    with pytest.raises(ndshm.Abandoned), a.write():
        pass
    with a.write("repair"):
        pass


def test_a_killed_waiter_is_in_nobodys_way(a):
    with Python() as victim:
        with a.write():
            waiting = victim.begin(ENTER[Python], name=a.name, access="write")
            with pytest.raises(TimeoutError):
                victim.answer(waiting, 0.05)
            victim.kill()
        with a.write(timeout=LIMIT):
            pass


def test_the_count_of_all_who_contend_is_exact(a):
    """NDSHM_CONTENTION_SECONDS for minutes instead of seconds."""
    seconds = float(os.environ.get("NDSHM_CONTENTION_SECONDS", "2"))
    programs = {
        Node: "const a = ndshm.open(name, { mode: 'r+' }); const end = Date.now() + 1000 * seconds; let n = 0;"
        "while (Date.now() < end) { n++; await a.write((x) => x.set(0, x.get(0) + 1n));"
        "if (n % 16 === 0) await a.read((x) => { if (x.get(0) <= 0n) throw new Error('nothing'); }); }"
        "return n;",
        Python: "import time\nend = time.monotonic() + seconds; n = 0\n"
        "with ndshm.open(name, 'r+') as a:\n"
        " while time.monotonic() < end:\n"
        "  n += 1\n"
        "  with a.write(): a[0] += 1\n"
        "  if n % 16 == 0:\n"
        "   with a.read(): assert a[0] > 0\n"
        "return n",
    }
    peers = [make() for make in (Python, Python, Node, Node)]
    try:
        calls = [(peer, peer.begin(programs[type(peer)], name=a.name, seconds=seconds)) for peer in peers]
        counts = [peer.answer(call, seconds + LIMIT) for peer, call in calls]
    finally:
        for peer in peers:
            peer.close()
    assert min(counts) > 0
    assert a[0] == sum(counts)
    assert a.version == 2 * sum(counts)


def test_errors_of_peers_reach_the_test():
    with Python() as python, Node() as node:
        for peer, body in ((python, "ndshm.open('ndshm-no-such')"), (node, "ndshm.open('ndshm-no-such');")):
            with pytest.raises(PeerError) as raised:
                peer.run(body)
            assert raised.value.code == "ENOENT"
