"""What a client of managers does with a server that breaks the rules, at each stage of a connection."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import random
import socket
import struct
import threading
import tracemalloc
from concurrent.futures import Future

import pytest

import ndshm
from ndshm import Manager
from ndshm.codec import to_bytes
from ndshm.manager._dial import Stream
from ndshm.manager._frames import EMPTY, FrameReader, write_frame
from ndshm.manager._link import Link
from peer import LIMIT

BANNER = b"ndshm-manager/1\n"
HELLO = {"ndshm": 1, "manager": "m", "ring": None}


class Server:
    """Runs a script for one connection."""

    def __init__(self, path, script):
        self.address = str(path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen()
        self._listener.settimeout(LIMIT)
        self._script = script
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        with contextlib.suppress(ConnectionError, EOFError):
            self.connection, _ = self._listener.accept()
            self.connection.settimeout(LIMIT)
            self._script(self.connection)
            self.connection.recv(1)  # until the client leaves

    def close(self):
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()
        self.connection.close()
        self._listener.close()


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(script):
        servers.append(Server(tmp_path / f"{len(servers)}.sock", script))
        return servers[-1].address

    yield start
    for server in servers:
        server.close()


def exactly(connection, count):
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def derived(key, purpose):
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, b"ndshm manager 1 " + purpose + b"\1", hashlib.sha256).digest()


def prove(nonces, role):
    return hmac.new(derived(b"", b"handshake"), role + BANNER + nonces, hashlib.sha256).digest()


def handshake(connection):
    assert exactly(connection, 16) == BANNER
    nonces = exactly(connection, 32) + bytes(32)
    connection.sendall(BANNER + bytes(32) + prove(nonces, b"server"))
    assert exactly(connection, 32) == prove(nonces, b"client")
    connection.sendall(b"\1")


def hear(connection):
    """The next message of the client."""
    head = exactly(connection, 12)
    return FrameReader().push(head + exactly(connection, struct.unpack("<I", head[:4])[0] - 12))[0]


def greet(connection):
    handshake(connection)
    connection.sendall(b"".join(write_frame(HELLO)))
    assert hear(connection) == {"ndshm": 1, "ring": False}


def frame(text, attachments=()):
    lengths = struct.pack(f"<{len(attachments)}I", *map(len, attachments))
    total = 12 + len(lengths) + len(text) + sum(map(len, attachments))
    return struct.pack("<3I", total, len(text), len(attachments)) + lengths + text + b"".join(attachments)


def code_of(fn, *args, **options):
    with pytest.raises(ndshm.Error) as raised:
        fn(*args, **options)
    return raised.value.code


def test_a_silent_server_is_left_after_the_timeout(serve):
    assert code_of(Manager.connect, serve(lambda connection: None), timeout=0.1) == "ERR_NDSHM_TIMEOUT"
    assert code_of(Manager.connect, serve(handshake), timeout=0.1) == "ERR_NDSHM_TIMEOUT"


def test_a_server_that_drips_is_left_after_the_timeout(serve):
    def drip(connection):
        handshake(connection)
        head = struct.pack("<3I", 2**20 + 12, 2**20, 0)
        connection.sendall(head)
        connection.settimeout(0.01)
        while True:
            connection.sendall(b"[")
            with contextlib.suppress(TimeoutError, socket.timeout):
                if not connection.recv(1):
                    return

    assert code_of(Manager.connect, serve(drip), timeout=0.3) == "ERR_NDSHM_TIMEOUT"


@pytest.mark.parametrize(
    "said, code",
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "ERR_NDSHM_PROTOCOL"),
        (b"ndshm-manager/2\n" + bytes(64), "ERR_NDSHM_PROTOCOL"),
        (BANNER + bytes(64), "ERR_NDSHM_AUTH"),
        (b"", "ERR_NDSHM_MANAGER_LOST"),
        (BANNER[:5], "ERR_NDSHM_MANAGER_LOST"),
        (BANNER + bytes(10), "ERR_NDSHM_MANAGER_LOST"),
        (BANNER + bytes(40), "ERR_NDSHM_MANAGER_LOST"),
    ],
)
def test_what_is_no_manager_is_told(serve, said, code):
    def answer(connection):
        exactly(connection, 48)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)

    assert code_of(Manager.connect, serve(answer), timeout=LIMIT) == code


def test_a_proof_that_was_the_clients_own_is_none(serve):
    def mirror(connection):
        exactly(connection, 16)
        nonces = exactly(connection, 32) + bytes(32)
        connection.sendall(BANNER + bytes(32) + prove(nonces, b"client"))

    assert code_of(Manager.connect, serve(mirror)) == "ERR_NDSHM_AUTH"


@pytest.mark.parametrize(
    "said, code",
    [
        (b"\0", "ERR_NDSHM_PROTOCOL"),
        (b"\1" + struct.pack("<3I", 2**32 - 1, 1, 0), "ERR_NDSHM_PROTOCOL"),
        (b"\1" + frame(b'[{"ndshm":2}]'), "ERR_NDSHM_PROTOCOL"),
        (b"\1" + frame(b'[{"ndshm":1},{"ndshm":1}]'), "ERR_NDSHM_PROTOCOL"),
        (b"\1" + frame(b"[7]"), "ERR_NDSHM_PROTOCOL"),
        (b"\1", "ERR_NDSHM_MANAGER_LOST"),
        (b"\1" + frame(b"[7]")[:-1], "ERR_NDSHM_MANAGER_LOST"),
        (b"", "ERR_NDSHM_AUTH"),
    ],
)
def test_what_is_no_greeting_is_told(serve, said, code):
    def answer(connection):
        exactly(connection, 16)
        nonces = exactly(connection, 32) + bytes(32)
        connection.sendall(BANNER + bytes(32) + prove(nonces, b"server"))
        exactly(connection, 32)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)

    assert code_of(Manager.connect, serve(answer)) == code


def answered(message):
    return frame(json.dumps([message]).encode())


BAD_FRAMES = {
    "a larger frame than any": struct.pack("<3I", 2**28 + 1, 2, 0),
    "more JSON than any": struct.pack("<3I", 2**27, 2**22 + 1, 0),
    "more attachments than any": struct.pack("<3I", 2**27, 2, 4097),
    "the mark of a ring": bytes(12),
    "parts of another length": struct.pack("<3I", 20, 2, 0) + b"[]",
    "no JSON": frame(b"nothing"),
    "no UTF-8": frame(b'["\xff"]'),
    "NaN": frame(b"[NaN]"),
    "deep JSON": frame(b"[" * 100_000 + b"]" * 100_000),
    "a number of too many digits": frame(b"[" + b"9" * 10_000 + b"]"),
    "no list": frame(b"{}"),
    "no places": frame(b"[]", [b"x"]),
    "a place too few": frame(b"[0,[[0]]]", [b"x", b"y"]),
    "a place that is not there": frame(b"[0,[[7]]]", [b"x"]),
    "a place that counts from the end": frame(b"[0,[[-1]]]", [b"x"]),
    "a place that is no path": frame(b"[0,[null]]", [b"x"]),
    "an empty place": frame(b"[0,[[]]]", [b"x"]),
    "a place that does not wait": frame(b"[1,[[0]]]", [b"x"]),
    "a place that is false": frame(b"[false,[[0]]]", [b"x"]),
    "a place twice": frame(b"[0,[[0],[0]]]", [b"x", b"y"]),
}
BAD_MESSAGES = [
    None,
    7,
    [],
    {},
    ["nothing"],
    [["resolve"]],
    ["resolve"],
    ["resolve", "1", 2],
    ["resolve", 1],
    ["resolve", 2, 3],
    ["resolve", 0, 3],
    ["resolve", True, 3],
    ["resolve", 1, {"o": 1}],
    ["resolve", 1, {"o": ["export", 5], "i": "", "t": ""}],
    ["resolve", 1, {"o": ["readable", 5], "i": "", "t": ""}],
    ["resolve", 1, ["pipeline", 0, ["call"], []]],
    ["resolve", 1, [["bytes"]]],
    ["resolve", 1, [[]]],
    ["resolve", 1, [[["bytes", "text"]]]],
    ["resolve", 1, ["no constant"]],
    ["resolve", 1, [["bytes", 0], ["import", 0]]],
    ["reject", 1, 7],
    ["reject", 1, ["error"]],
    ["stream", ["pipeline", -1, ["aborted"], []]],
    ["stream", ["pipeline", 0, ["call"], ["make"]]],
    ["stream", ["pipeline", 1, ["write"], [["bytes", 0]]]],
    ["stream", ["pipeline", 1, ["close"], []]],
    ["stream", []],
    ["push", ["remap", 0, [], [], []]],
    ["abort", 7],
]


def ends_with(serve, said):
    """The code that a call ends with, which the server answers so."""

    def answer(connection):
        greet(connection)
        hear(connection)
        connection.sendall(said)

    with Manager.connect(serve(answer)) as manager:
        return code_of(manager.info, timeout=LIMIT)


@pytest.mark.parametrize("said", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_bad_frames_end_the_connection(serve, said):
    assert ends_with(serve, said) == "ERR_NDSHM_PROTOCOL"


@pytest.mark.parametrize("message", BAD_MESSAGES, ids=json.dumps)
def test_bad_messages_end_the_connection(serve, message):
    assert ends_with(serve, answered(message)) == "ERR_NDSHM_PROTOCOL"


def test_a_connection_that_ends_in_a_frame_is_lost(serve):
    def half(connection):
        greet(connection)
        hear(connection)
        connection.sendall(frame(b"[]")[:-1])
        connection.shutdown(socket.SHUT_RDWR)

    with Manager.connect(serve(half)) as manager:
        assert code_of(manager.info, timeout=LIMIT) == "ERR_NDSHM_MANAGER_LOST"


def test_the_last_words_of_a_manager_are_told(serve):
    said = ["abort", ["error", "Error", "too much", None, {"code": "ERR_NDSHM_LIMIT"}]]
    assert ends_with(serve, answered(said)) == "ERR_NDSHM_LIMIT"


def test_bytes_that_are_no_object_fail_one_call_alone(serve):
    def answer(connection):
        greet(connection)
        hear(connection)
        connection.sendall(b"".join(write_frame(["resolve", 1, [[["bytes", b"no object"]]]])))
        hear(connection)
        connection.sendall(answered(["resolve", 2, 7]))

    with Manager.connect(serve(answer)) as manager:
        assert code_of(manager.info, timeout=LIMIT) == "ERR_NDSHM_CORRUPT_OBJECT"
        assert manager.info(timeout=LIMIT) == 7


def test_an_error_that_cannot_be_read_fails_one_call_alone(serve):
    def answer(connection):
        greet(connection)
        hear(connection)
        error = ["error", "Error", "words", None, {"ndshm": ["bytes", b"no object"]}]
        connection.sendall(b"".join(write_frame(["reject", 1, error])))
        hear(connection)
        error[4] = {"ndshm": ["bytes", to_bytes({"isError": True, "properties": [[1], 2, ["code", []]], "cause": 3})]}
        connection.sendall(b"".join(write_frame(["reject", 2, error])))

    with Manager.connect(serve(answer)) as manager:
        assert code_of(manager.info, timeout=LIMIT) == "ERR_NDSHM_CORRUPT_OBJECT"
        with pytest.raises(ndshm.RemoteError):
            manager.info(timeout=LIMIT)


def test_signs_of_life_are_given_and_missed():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(LIMIT)
    ended = Future()
    link = Link(Stream(ours, (BlockingIOError,)), 0.02, ended.set_exception, ended.set_result)
    link.start()
    assert exactly(theirs, 2 * len(EMPTY)) == 2 * EMPTY
    assert ended.result(LIMIT).code == "ERR_NDSHM_MANAGER_LOST"
    link.join(LIMIT)
    theirs.close()


def array_of(shape, number=1):
    """An answer with an array that a stream has."""
    value = to_bytes(object(), lambda _: ["ArrayCopy", "uint8", shape, 0])
    return b"".join(write_frame(["resolve", 1, [[["bytes", value], ["readable", number]]]]))


def write(chunk):
    return b"".join(write_frame(["stream", ["pipeline", 1, ["write"], [["bytes", chunk]]]]))


PIPE = answered(["pipe"])
CLOSE = answered(["stream", ["pipeline", 1, ["close"], []]])
RELEASE = answered(["release", 1, 1])


@pytest.mark.parametrize(
    "said, code",
    [
        (PIPE + array_of([4]) + write(bytes(3)) + CLOSE, "ERR_NDSHM_CORRUPT_OBJECT"),
        (PIPE + write(bytes(3)) + CLOSE + array_of([4]), "ERR_NDSHM_CORRUPT_OBJECT"),
        (PIPE + array_of([4]) + write(bytes(3)) + RELEASE, "ERR_NDSHM_CORRUPT_OBJECT"),
        (PIPE + array_of([4]) + write(bytes(5)), "ERR_NDSHM_PROTOCOL"),
        (PIPE + write(bytes(5)) + array_of([4]), "ERR_NDSHM_PROTOCOL"),
        (PIPE + array_of([2**33]), "ERR_NDSHM_LIMIT"),
        (PIPE + array_of([2**40, 2**40]), "ERR_NDSHM_LIMIT"),
        (PIPE + array_of([-1]), "ERR_NDSHM_CORRUPT_OBJECT"),
        (PIPE + array_of("no shape"), "ERR_NDSHM_CORRUPT_OBJECT"),
        (array_of([4]), "ERR_NDSHM_PROTOCOL"),
        (PIPE + array_of([4], 2), "ERR_NDSHM_PROTOCOL"),
    ],
)
def test_arrays_that_are_not_what_they_claim(serve, said, code):
    assert ends_with(serve, said) == code


@pytest.mark.parametrize("said", [write(b"ab") + array_of([2]), array_of([2]) + write(b"a") + write(b"b")])
def test_pieces_of_an_array_may_come_before_it_or_behind(serve, said):
    def answer(connection):
        greet(connection)
        hear(connection)
        connection.sendall(PIPE + said + CLOSE)

    with Manager.connect(serve(answer)) as manager:
        assert bytes(manager.info(timeout=LIMIT)) == b"ab"


def test_what_a_frame_promises_takes_no_memory():
    reader = FrameReader()
    tracemalloc.start()
    reader.push(struct.pack("<4I", 2**28, 2, 1, 2**28 - 18) + b"[]"[:1])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**16


def test_random_bytes_and_random_cuts_do_nothing_but_end_it():
    chance = random.Random(7)
    good = b"".join(write_frame(["resolve", 1, [[["bytes", bytes(range(40))]]]])) + answered(["pull", 3])
    expected = FrameReader().push(good)
    for _ in range(2000):
        reader, messages, at = FrameReader(), [], 0
        while at < len(good):
            cut = chance.randint(1, 30)
            messages += reader.push(good[at : at + cut])
            at += cut
        assert messages == expected
        bad = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        try:
            FrameReader().push(bytes(bad))
        except ndshm.Error as refused:
            assert refused.code == "ERR_NDSHM_PROTOCOL"
