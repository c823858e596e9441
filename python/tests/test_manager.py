"""The client of managers, with a manager in Node and other clients beside it."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import ndshm
from ndshm import Manager, RemoteError
from ndshm.manager import Proxy, method
from node import Node
from peer import LIMIT, ROOT

SERVE = """
class Ledger {
  #entries = [];
  add(amount) { this.#entries.push(amount); return this.total; }
  get total() { return this.#entries.reduce((sum, each) => sum + each, 0); }
  self() { return this; }
  both(other) { return { me: this, other, same: other === this }; }
  snake_case() { return 'as it is'; }
  adder() { return (a, b) => a + b; }
  steps() { return (function* () { yield 1; })(); }
  fail(code) {
    const cause = new TypeError('below');
    throw Object.assign(new RangeError('no', { cause }), { code });
  }
  throwText() { throw 'a text'; }
  never() { return new Promise(() => {}); }
}
kept.manager = await ndshm.Manager.serve(options);
await kept.manager.register('Ledger', Ledger);
return kept.manager.address;
"""


@pytest.fixture(scope="module")
def server():
    with Node() as node:
        yield node, node.run(SERVE, options={})


@pytest.fixture
def manager(server):
    with Manager.connect(server[1]) as made:
        yield made


@pytest.fixture
def node(server):
    return server[0]


def code_of(fn, *args, **options):
    with pytest.raises(ndshm.Error) as raised:
        fn(*args, **options)
    return raised.value.code


def objects_of(manager):
    return [each["type"] for each in manager.info()["objects"]]


def named(manager, node, name, kind, *args, **options):
    """An object that Node has as `kept.it` and Python as what this gives."""
    proxy = manager.get_or_create(name, kind, *args, **options)
    node.run("kept.it = await kept.manager.find(name);", name=name)
    return proxy


VALUES = [
    None,
    True,
    0,
    -7,
    2**53 - 1,
    2**64,
    0.5,
    math.inf,
    -math.inf,
    "",
    "naïve ☃ \U0001f600",
    "\ud800 alone",
    "long " * 2000,
    b"bytes",
    [1, [2, [3]]],
    {"a": {"b": [None]}},
    {1: "a", 2: "b"},
    {1, 2, 3},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_values_come_back(manager, value):
    assert manager.value(value).get() == value


def test_signs_of_zero_and_nan_come_back(manager):
    assert math.copysign(1, manager.value(-0.0).get()) == -1
    assert math.isnan(manager.value(math.nan).get())


@pytest.mark.parametrize("count", [0, 3, 40_000, 3_000_000])
def test_arrays_of_any_size_come_back(manager, count):
    array = np.arange(count, dtype=np.float64)
    held = manager.value(array)
    got = held.get()
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


def test_several_large_arrays_come_at_once(manager):
    arrays = {name: np.full((300, 400), n, np.int32) for n, name in enumerate("abcd")}
    got = manager.value(arrays).get()
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)


def test_large_arrays_of_node_arrive(manager, node):
    value = named(manager, node, "from node", "value")
    node.run("""
      const array = ndshm.anonymous({ shape: [500, 400], dtype: 'float32' });
      array.fill(0.5);
      await kept.it.set(array);""")
    np.testing.assert_array_equal(value.get(), np.full((500, 400), 0.5, np.float32))
    manager.remove("from node")


def test_what_is_too_large_is_told_and_the_connection_lives(manager):
    held = manager.value()
    with pytest.raises(ndshm.Error) as raised:
        held.set(np.zeros(2**28 + 1, np.uint8))
    assert raised.value.code == "ERR_NDSHM_LIMIT"
    held.set(1)
    assert held.get() == 1


def test_dict(manager, node):
    stock = named(manager, node, "dict", "dict", {"apple": 3})
    stock.set("pear", {"price": 1.5})
    assert node.run("await kept.it.set('plum', [1]); return kept.it.get('pear');") == {"price": 1.5}
    assert stock.get("plum") == [1]
    assert stock.set_default("fig", 1) == stock.setDefault("fig", 2) == 1
    assert stock.size() == 4 and stock.has("fig") and stock.keys() == ["apple", "pear", "plum", "fig"]
    assert stock.pop("nothing", "else") == "else"
    stock.update({"apple": 4})
    assert stock.entries()[0] == ["apple", 4]
    assert code_of(stock.set, [], 1) == "ERR_NDSHM_INVALID_ARGUMENT"
    assert manager.remove("dict") and not manager.remove("dict")


def test_list(manager, node):
    items = named(manager, node, "list", "list", [1])
    assert items.push(2, 3) == 3
    assert node.run("return kept.it.pop();") == 3
    items.insert(0, "first")
    items.extend([5])
    assert items.to_array() == ["first", 1, 2, 5] and items.index_of(2) == 2 and items.get(-1) == 5
    manager.remove("list")


def test_namespace_value_and_array(manager, node):
    space = named(manager, node, "namespace", "namespace", {"x": 1})
    node.run("await kept.it.set('y', 2);")
    assert space.to_object() == {"x": 1, "y": 2}
    value = named(manager, node, "value", "value", 40)
    assert value.add(1) == 41 and node.run("return kept.it.add(1);") == 42 and value.get() == 42
    array = named(manager, node, "array", "array", "int32", 3)
    array.set_slice(0, [1, 2])
    assert node.run("await kept.it.set(-1, 7); return [...(await kept.it.toArray())];") == [1, 2, 7]
    np.testing.assert_array_equal(array.to_array(), np.array([1, 2, 7], np.int32))
    for name in ("namespace", "value", "array"):
        manager.remove(name)


def test_queue(manager, node):
    jobs = named(manager, node, "queue", "queue", max_items=1)
    jobs.put({"n": 1})
    assert code_of(jobs.put, 2, timeout=0.02) == "ERR_NDSHM_TIMEOUT"
    assert node.run("return kept.it.get();") == {"n": 1}
    waiting = node.begin("return kept.it.get();")
    jobs.put(3)
    assert node.answer(waiting) == 3
    assert code_of(jobs.get, timeout=0) == "ERR_NDSHM_TIMEOUT"
    assert jobs.try_get() is None
    node.run("await kept.it.taskDone(); await kept.it.taskDone();")
    jobs.join(timeout=LIMIT)
    ranked = manager.queue(kind="priority")
    ranked.put("late", priority=2)
    ranked.put("soon", priority=1)
    assert [ranked.get(), ranked.get()] == ["soon", "late"]
    jobs.shutdown()
    assert code_of(jobs.put, 1) == "ERR_NDSHM_SHUT_DOWN"
    manager.remove("queue")


@pytest.mark.parametrize("kind", ["lock", "rlock", "semaphore", "condition"])
def test_locks_exclude_node(manager, node, kind):
    lock = named(manager, node, kind, kind)
    with lock:
        waiting = node.begin("await kept.it.acquire(); return true;")
        assert node.run("return kept.it.tryAcquire();") is False
        assert not node.has_answered(waiting)
    assert node.answer(waiting) is True
    with pytest.raises(ndshm.Timeout):
        lock.acquire(timeout=0.02)
    node.run("await kept.it.release();")
    with lock:
        pass
    if kind != "semaphore":
        assert code_of(lock.release) == "ERR_NDSHM_NOT_OWNED"
    manager.remove(kind)


def test_locks_belong_to_the_connection(server, manager, node):
    lock = named(manager, node, "mine", "lock")
    with Manager.connect(server[1]) as other:
        other.find("mine").acquire()
        assert lock.try_acquire() is False
        waiting = node.begin("await kept.it.acquire({ timeoutMs: 20_000 }); await kept.it.release(); return true;")
    assert node.answer(waiting) is True
    manager.remove("mine")


def test_event_barrier_and_condition_wait_for_node(manager, node):
    event = named(manager, node, "event", "event")
    with ThreadPoolExecutor() as threads:
        waits = threads.submit(event.wait)
        node.run("await kept.it.set();")
        waits.result(LIMIT)
        barrier = named(manager, node, "barrier", "barrier", parties=2)
        waits = threads.submit(barrier.wait)
        there = node.run("return kept.it.wait();")
        assert sorted([waits.result(LIMIT), there]) == [0, 1]
        condition = named(manager, node, "condition", "condition")
        condition.acquire()
        waits = threads.submit(condition.wait)
        node.run("await kept.it.acquire(); await kept.it.notify(); await kept.it.release();")
        waits.result(LIMIT)
        condition.release()
    assert event.is_set()
    for name in ("event", "barrier", "condition"):
        manager.remove(name)


def test_classes_by_their_names(manager):
    ledger = manager.Ledger()
    assert repr(ledger) == "<Proxy of Ledger>"
    assert ledger.add(5) == 5 and ledger.total() == 5
    assert method(ledger, "snake_case")() == "as it is"
    assert code_of(ledger.snake_case) == "ERR_NDSHM_NOT_EXPOSED"
    assert code_of(manager.Nothing) == "ERR_NDSHM_NO_OBJECT"
    assert ledger.adder()(2, 3) == 5
    with pytest.raises(AttributeError):
        _ = ledger._private


def test_proxies_come_home(manager):
    ledger, other = manager.Ledger(), manager.Ledger()
    ledger.add(1)
    found = ledger.both(ledger)
    assert found["same"] is True and isinstance(found["me"], Proxy) and found["me"].total() == 1
    assert ledger.both(other)["same"] is False
    shelf = manager.dict({"ledger": ledger})
    assert shelf.get("ledger").add(1) == 2


def test_a_proxy_of_another_connection_and_functions_are_refused(server, manager):
    with Manager.connect(server[1]) as other:
        assert code_of(manager.list, [other.dict()]) == "ERR_NDSHM_INVALID_ARGUMENT"
    assert code_of(manager.list, [len]) == "ERR_NDSHM_INVALID_ARGUMENT"


def test_an_iterator_as_result_is_refused_and_given_up(manager):
    assert code_of(manager.Ledger().steps) == "ERR_NDSHM_UNSUPPORTED"


def test_errors_tell_class_code_stack_and_cause(manager):
    ledger = manager.Ledger()
    with pytest.raises(RemoteError, match="RangeError: no") as raised:
        ledger.fail("E_OWN")
    assert (raised.value.name, raised.value.message, raised.value.code) == ("RangeError", "no", "E_OWN")
    assert "at Ledger.fail" in raised.value.stack
    assert raised.value.cause.name == "TypeError"
    with pytest.raises(ndshm.Full) as raised_full:
        ledger.fail("ERR_NDSHM_FULL")
    assert "at Ledger.fail" in raised_full.value.__cause__.stack
    with pytest.raises(RemoteError, match="a text"):
        ledger.throw_text()


def test_a_timeout_ends_the_wait_of_any_call(manager):
    assert code_of(manager.Ledger().never, timeout=0.02) == "ERR_NDSHM_TIMEOUT"
    with pytest.raises(ndshm.InvalidArgument):
        manager.info(timeout="soon")


def test_references_are_given_up(manager):
    before = objects_of(manager)
    made = [manager.list([manager.Ledger()]), manager.dict(), manager.Ledger().self()]
    assert len(objects_of(manager)) > len(before)
    del made
    gc.collect()
    # The list had a ledger, which goes with its last proxy; the next call comes after what was given up.
    assert objects_of(manager) == before


def test_nothing_is_left_after_close(server, manager):
    before = objects_of(manager)
    other = Manager.connect(server[1])
    kept = [other.dict(), other.queue(), other.lock()]
    assert len(objects_of(manager)) == len(before) + 3
    connections = manager.info()["connections"]
    other.close()
    other.close()
    while manager.info()["connections"] == connections:
        pass
    assert objects_of(manager) == before
    assert code_of(kept[0].get, 1) == "ERR_NDSHM_STALE_PROXY"
    assert code_of(other.info) == "ERR_NDSHM_CLOSED"


def test_a_connection_ends_when_nobody_uses_it(server, manager):
    other = Manager.connect(server[1])
    proxy = other.dict()
    connections = manager.info()["connections"]
    del other
    gc.collect()
    proxy.set("a", 1)
    del proxy
    gc.collect()
    while manager.info()["connections"] == connections:
        pass


def test_close_ends_the_waits_of_other_threads(server):
    manager = Manager.connect(server[1])
    jobs = manager.queue()
    with ThreadPoolExecutor() as threads:
        waits = threads.submit(jobs.get)
        manager.info()
        manager.close()
        with pytest.raises(ndshm.Closed):
            waits.result(LIMIT)


def test_threads_share_a_connection(manager):
    counter, stock = manager.value(0), manager.dict()
    start = threading.Barrier(8)

    def work(n):
        start.wait(LIMIT)
        for k in range(50):
            counter.add(1)
            stock.set(f"{n}-{k}", np.full(100, n))
            assert stock.get(f"{n}-{k}")[0] == n

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert counter.get() == 400 and stock.size() == 400


def test_tasks_call_and_are_cancelled(server):
    async def main():
        async with await Manager.connect_async(server[1]) as manager:
            stock = await manager.dict_async({"a": 1})
            assert await asyncio.gather(*(stock.get_async("a") for _ in range(100))) == [1] * 100
            jobs, lock = await manager.make_async("queue"), await manager.make_async("lock")
            waiting = asyncio.create_task(jobs.get_async())
            await manager.info_async()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await jobs.put_async("still there")
            assert await jobs.get_async() == "still there"
            async with lock:
                again = asyncio.create_task(lock.acquire_async())
                await manager.info_async()
                again.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await again
            assert await lock.locked_async() is False
            with pytest.raises(ndshm.Timeout):
                await jobs.get_async(timeout=0.02)
            with pytest.raises(RemoteError):
                await (await manager.Ledger_async()).fail_async("E_OWN")

    asyncio.run(main())


def interrupt_once_main_waits(ended: threading.Event):
    """In Condition.wait() of Future.result() of an answer."""
    main = threading.main_thread().ident
    frames = []
    while [frame.f_code.co_name for frame in frames[:3]] != ["wait", "result", "result"]:
        frames = [frame for frame, _ in traceback.walk_stack(sys._current_frames()[main])]
    # CPython may fall asleep between a signal and its look for one, as people who press Ctrl-C twice know.
    signal.pthread_kill(main, signal.SIGINT)
    while not ended.wait(1):
        signal.pthread_kill(main, signal.SIGINT)


def test_ctrl_c_ends_a_wait(manager):
    lock, jobs = manager.lock(), manager.queue()
    lock.acquire()
    for wait in (lock.acquire, jobs.get):
        ended = threading.Event()
        with ThreadPoolExecutor() as threads:
            threads.submit(interrupt_once_main_waits, ended)
            try:
                with pytest.raises(KeyboardInterrupt):
                    wait(timeout=LIMIT)
            finally:
                ended.set()
    lock.release()
    jobs.put(1)
    assert jobs.get(timeout=LIMIT) == 1
    lock.acquire(timeout=LIMIT)


def test_what_comes_to_a_cancelled_task_is_given_back(server):
    async def main():
        async with await Manager.connect_async(server[1]) as manager:
            jobs, lock = await manager.queue_async(), await manager.lock_async()
            # Both can be had at once: the answer is on its way when the task is cancelled.
            await jobs.put_async(1)
            tasks = [asyncio.create_task(each) for each in (jobs.get_async(), lock.acquire_async())]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert all(task.cancelled() for task in tasks)
            assert await jobs.get_async(timeout=LIMIT) == 1
            await lock.acquire_async(timeout=LIMIT)

    asyncio.run(main())


def test_a_manager_that_is_killed_ends_all_waits():
    with Node() as node:
        manager = Manager.connect(node.run(SERVE, options={}))
        jobs = manager.queue()
        with ThreadPoolExecutor() as threads:
            waits = [threads.submit(jobs.get) for _ in range(3)]
            manager.info()
            node.kill()
            for each in waits:
                with pytest.raises(ndshm.Error) as raised:
                    each.result(LIMIT)
                assert raised.value.code == "ERR_NDSHM_MANAGER_LOST"
        assert code_of(jobs.get) == "ERR_NDSHM_STALE_PROXY"
        assert code_of(manager.info) == "ERR_NDSHM_MANAGER_LOST"
        manager.close()


def test_a_forked_child_leaves_the_connection_to_its_parent(manager):
    stock = manager.dict({"a": 1})
    child = os.fork()
    if child == 0:
        try:
            code = code_of(stock.get, "a", timeout=5)
            # Its copy of the socket would keep the connection open when the parent is gone.
            is_left = manager._session._link._socket.fileno() == -1
            os._exit(0 if code == "ERR_NDSHM_STALE_PROXY" and is_left else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert stock.get("a") == 1


KEY = "a key that both sides have"


def test_a_key_is_proved_on_both_sides():
    with Node() as node:
        address = node.run(SERVE, options={"authKey": KEY})
        with Manager.connect(address, KEY) as manager:
            assert manager.value(1).get() == 1
        assert code_of(Manager.connect, address, "another key of its length") == "ERR_NDSHM_AUTH"
        assert code_of(Manager.connect, address) == "ERR_NDSHM_AUTH"
        assert code_of(Manager.connect, address, "short") == "ERR_NDSHM_OUT_OF_RANGE"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Of an authority of its own, for localhost: certificate and key of both sides."""
    openssl = shutil.which("openssl")
    assert openssl is not None
    folder = tmp_path_factory.mktemp("tls")

    def run(*args):
        subprocess.run([openssl, *args], cwd=folder, check=True, capture_output=True)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for side in ("server", "client"):
        run("req", *new, "-keyout", f"{side}.key", "-out", f"{side}.csr", "-subj", f"/CN={side}")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
        run("x509", "-req", "-in", f"{side}.csr", *signed, "-out", f"{side}.pem")
    return folder


def context_of(folder: Path, with_own: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    # From 3.13 on it asks for extensions that these certificates are too simple to have.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if with_own:
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return context


def test_tcp_with_certificates(certificates):
    tls = {"key": "server.key", "cert": "server.pem", "ca": "ca.pem"}
    options = {
        "address": "tcp://localhost:0",
        "tls": {option: (certificates / name).read_text() for option, name in tls.items()},
    }
    with Node() as node:
        address = node.run(SERVE, options=options).replace("127.0.0.1", "localhost").replace("[::1]", "localhost")
        with Manager.connect(address, tls=context_of(certificates)) as manager:
            array = np.arange(300_000, dtype=np.float32)
            np.testing.assert_array_equal(manager.value(array).get(), array)
        assert code_of(Manager.connect, address, tls=context_of(certificates, with_own=False)) == "ERR_NDSHM_AUTH"
        assert code_of(Manager.connect, address, tls=ssl.create_default_context()) == "ERR_NDSHM_AUTH"
        careless = context_of(certificates)
        careless.check_hostname = False
        assert code_of(Manager.connect, address, tls=careless) == "ERR_NDSHM_OUT_OF_RANGE"


def test_tcp_with_a_key_needs_tls_psk():
    assert code_of(Manager.connect, "tcp://localhost:1") == "ERR_NDSHM_INVALID_ARGUMENT"
    with Node() as node:
        address = node.run(SERVE, options={"address": "tcp://127.0.0.1:0", "authKey": KEY})
        if getattr(ssl, "HAS_PSK", False):
            with Manager.connect(address, KEY) as manager:
                assert manager.value(1).get() == 1
            assert code_of(Manager.connect, address, "another key of its length") == "ERR_NDSHM_AUTH"
        else:
            assert code_of(Manager.connect, address, KEY) == "ERR_NDSHM_UNSUPPORTED"


@pytest.mark.parametrize(
    "address", ["", "/a/", "http://x", "tcp://x", "tcp://x:99999", "tcp://[zz]:1", "a\0b", "x" * 120]
)
def test_wrong_addresses_are_refused(address):
    assert code_of(Manager.connect, address) == "ERR_NDSHM_OUT_OF_RANGE"


def test_nobody_at_the_address(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        Manager.connect(str(tmp_path / "none.sock"))
    assert raised.value.code == "ENOENT"
    assert code_of(Manager.connect, 1) == "ERR_NDSHM_INVALID_ARGUMENT"


def test_the_client_is_imported_when_it_is_asked_for():
    look = "import sys, ndshm; print('ndshm.manager' in sys.modules, ndshm.Manager.__name__)"
    found = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT / "python", capture_output=True, text=True, check=True, timeout=LIMIT
    )
    assert found.stdout.strip() == "False Manager"
