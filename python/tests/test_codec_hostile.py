"""Bytes that may be anything: a value or ERR_NDSHM_CORRUPT_OBJECT, in room that is in proportion to them."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec_values import values
from ndshm.codec import RegExp, RemoteError, decode, encode, to_bytes
from ndshm.errors import Error
from object_bytes import object_bytes, special


def survives(data: bytes) -> bool:
    try:
        decode(data)
    except Error as error:
        assert error.code == "ERR_NDSHM_CORRUPT_OBJECT"
        return False
    return True


def is_refused(data: bytes) -> bool:
    return not survives(data)


def ipc_stream(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write(table)
    return sink.getvalue().to_pybytes()


changes = st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=8)


@settings(max_examples=600, deadline=None)
@given(values, changes)
def test_any_object_with_bytes_changed(value: object, changed: list[tuple[int, int]]) -> None:
    encoded = encode(value)
    data = bytearray(to_bytes(value))
    for at, to in changed:
        data[at % len(encoded.head)] = to
    survives(bytes(data))


@settings(max_examples=200, deadline=None)
@given(values, st.integers(0))
def test_any_object_cut_off(value: object, cut: int) -> None:
    data = to_bytes(value)
    end = cut % len(data)
    if end < len(encode(value).head):
        assert is_refused(data[:end])
    else:
        survives(data[:end])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_what_is_no_object(data: bytes) -> None:
    assert is_refused(data)


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 3), st.binary(max_size=60))
def test_any_document(specials: int, noise: bytes) -> None:
    survives(object_bytes(bytes([0x91 + specials]) + noise, [bytes(64)]))


TAGS = (
    "Map Set Date RegExp Error BigInt -0 undefined UTF16 Array Object List Entries Boxed ndarray Float64Array DataView "
    "ArrayBuffer Buffer Arrow x"
)
parts = st.sampled_from(
    [
        *[*map(special, [0, 1, 2, 99]), "C", "<f8", "0x1f", "__proto__", "length", "RangeError", "0"],
        *[None, -1, 0, 1, 1.5, 2**32, True, b"a", [], {}, [8], [2, 4], {"a": special(1)}, float("nan"), 1e300],
    ]
)


@settings(max_examples=2000, deadline=None)
@given(parts, st.lists(st.tuples(st.sampled_from(TAGS.split()), st.lists(parts, max_size=5)), min_size=1, max_size=4))
def test_any_parts_in_any_special(root: object, specials: list[tuple[str, list]]) -> None:
    document = [[root, special(0)], *([tag, *each] for tag, each in specials)]
    survives(object_bytes(document, [bytes(64), bytes(8)]))


def test_a_bit_flipped_anywhere() -> None:
    shared = [1, -1, 1.5, "text", None, True, -0.0, 2**70]
    value = {
        "list": shared,
        "again": shared,
        "map": {1: {None: frozenset([1])}},
        "error": RemoteError("TypeError", "x", "at", 1),
        "pattern": RegExp("a+"),
        "lone": "\ud800",
        "odd": {"__proto__": 1},
        "array": np.zeros(3),
        "bytes": b"bytes",
        "table": pa.table({"a": ["x", "y"], "b": [1, 2]}),
    }
    data = to_bytes(value)
    seen = {True: 0, False: 0}
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        seen[survives(bytes(flipped))] += 1
    assert seen[True] > 1000
    assert seen[False] > 1000


@pytest.mark.parametrize(
    "lie",
    [
        {"magic": b"NDOX"},
        {"version": 2},
        {"document_bytes": 2**32 - 1},
        {"document_bytes": 3},
        {"document_bytes": 30},
        {"document_bytes": 0},
        {"count": 2**32 - 1},
        {"count": 0},
        {"table": [(0, 64)]},
        {"table": [(2**40, 0)]},
        {"table": [(64, 2**40)]},
        {"table": [(64, 2**64 - 64)]},
        {"table": [(2**64 - 64, 64)]},
        {"table": [(72, 8)]},
    ],
)
def test_a_header_that_lies(lie: dict) -> None:
    document, buffers = [special(0), ["Uint8Array", 0]], [bytes(64)]
    assert survives(object_bytes(document, buffers))
    assert is_refused(object_bytes(document, buffers, **lie))


def test_another_version_is_named() -> None:
    with pytest.raises(Error, match=r"version 7.* version 1"):
        decode(object_bytes([1], version=7))


@pytest.mark.parametrize(
    "document",
    [
        [special(1), ["Map"]],
        [special(0), "Map"],
        [special(0), special(0)],
        [special(0), []],
        [special(0), ["Function", "return 1", 0]],
        [special(0), ["__class__", 0]],
        [special(0), [7, 0]],
        [special(0), ["BigInt", "12"]],
        [special(0), ["BigInt", "0x"]],
        [special(0), ["BigInt", 5]],
        [special(0), ["UTF16", "x"]],
        [special(0), ["UTF16", b"x"]],
        [special(0), ["Date", "2024"]],
        [special(0), ["Date"]],
        [special(0), ["RegExp", "a"]],
        [special(0), ["Boxed", {}]],
        [special(0), ["Boxed"]],
        [special(0), ["Boxed", special(0)]],
        [special(0), ["Boxed", special(1)], ["-0"]],
        [special(0), ["Error", "Function", "x", None]],
        [special(0), ["Error", ["Error"], "x", None]],
        [special(0), ["Error", "Error", 5, None]],
        [special(0), ["Error", "Error", "x", []]],
        [special(0), ["Map", 1]],
        [special(0), ["Entries", "a"]],
        [special(0), ["Entries", 1, 1]],
        [special(0), ["Array", -1]],
        [special(0), ["Array", 1.5]],
        [special(0), ["Array", 2**32]],
        [special(0), ["Array", 1, 0, 1]],
        [special(0), ["Array", 1, "0"]],
        [special(0), ["List", {}]],
        [special(0), ["Object", []]],
        [special(0), ["Object", special(0)]],
        [special(0), ["Uint8Array", 2]],
        [special(0), ["Uint8Array", -1]],
        [special(0), ["Uint8Array", 0.5]],
        [special(0), ["Uint8Array", True]],
        [special(0), ["Float64Array", 0]],
        [special(0), ["ndarray", "|O", [3], "C", 0]],
        [special(0), ["ndarray", "O", [3], "C", 0]],
        [special(0), ["ndarray", ">i2", [6], "C", 0]],
        [special(0), ["ndarray", "<i4", [4], "C", 0]],
        [special(0), ["ndarray", "<i4", [2], "C", 0]],
        [special(0), ["ndarray", "<i4", [-3, -1], "C", 0]],
        [special(0), ["ndarray", "<i4", [*[1] * 64, 3], "C", 0]],
        [special(0), ["ndarray", "<i4", [2**30, 2**30, 2**30], "C", 0]],
        [special(0), ["ndarray", "<i4", [0, 2**62, 2**62], "C", 1]],
        [special(0), ["ndarray", "<i4", "C", 0]],
        [special(0), ["ndarray", "<i4", [3], "K", 0]],
        [special(0), ["Arrow", 0]],
    ],
    ids=repr,
)
def test_a_special_that_is_wrong(document: list) -> None:
    assert is_refused(object_bytes(document, [bytes(12), b""]))


@pytest.mark.parametrize(
    "document",
    [
        "80",
        "90",
        "91c0c0",
        "91c1",
        "91d6020000000000",
        "91d6ff00000000",
        "91d40100",
        "91d7010000000000000000",
        "918101c0",
        "918190c0",
        "9181c40161c0",
        "9281d60100000000c091a32d30",
        "91a5616263",
        "93c0",
        "9182a161c0",
    ],
)
def test_a_document_that_is_wrong(document: str) -> None:
    assert is_refused(object_bytes(bytes.fromhex(document)))


def test_a_table_that_is_compressed() -> None:
    stream = ipc_stream(pa.table({"a": ["x"] * 100}), compression="zstd")
    with pytest.raises(Error, match="compressed"):
        decode(object_bytes([special(0), ["Arrow", 0]], [stream]))


def test_a_table_whose_offsets_lead_astray() -> None:
    stream = ipc_stream(pa.table({"a": ["abc", "def"]}))
    offsets = struct.pack("<iii", 0, 3, 6)
    assert stream.count(offsets) == 1
    for wrong in [(0, 2**31 - 1, 6), (0, -3, 6), (-8, 3, 6)]:
        assert is_refused(
            object_bytes([special(0), ["Arrow", 0]], [stream.replace(offsets, struct.pack("<iii", *wrong))])
        )


def lists_that_claim_the_rest(levels: int, claimed: int) -> bytes:
    return b"\x91" + (b"\xdd" + claimed.to_bytes(4, "big")) * levels + b"\xc0" * claimed


def repeated(count: int, special_parts: list) -> bytes:
    return msgpack.packb([special(0), *[special_parts] * count])


BOMBS = {
    "lists in lists that each claim all the rest": (lists_that_claim_the_rest(500, 50_000), []),
    "the same, deeper and longer": (lists_that_claim_the_rest(1000, 500_000), []),
    "a list that claims 4 billion elements": (bytes.fromhex("91ddffffffff"), []),
    "a map that claims 4 billion entries": (bytes.fromhex("91dfffffffff"), []),
    "text that claims 4 GB": (bytes.fromhex("91dbffffffff"), []),
    "bytes that claim 4 GB": (bytes.fromhex("91c6ffffffff"), []),
    "an extension that claims 4 GB": (bytes.fromhex("91c9ffffffff01"), []),
    "lists without end": (b"\x91" * 10**6, []),
    "holes": (repeated(10_000, ["Array", 2**32 - 1, "0", 1]), []),
    "copies of one buffer": (repeated(10_000, ["ArrayBuffer", 0]), [bytes(10**6)]),
    "more copies of one buffer": (repeated(10_000, ["Buffer", 0]), [bytes(10**6)]),
    "tables of one buffer": (repeated(10_000, ["Arrow", 0]), [ipc_stream(pa.table({"a" * 10**5: [1]}))]),
    "an array of no bytes and endless length": (repeated(1000, ["ndarray", "<f8", [0, 2**40], "C", 0]), [b""]),
    "a long bigint": (repeated(1, ["BigInt", "0x" + "f" * 10**6]), []),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_nobody_is_made_to_take_more_than_the_bytes_are_worth(bomb: str, tmp_path: Path) -> None:
    document, buffers = BOMBS[bomb]
    (tmp_path / "object").write_bytes(object_bytes(document, buffers))
    # In a process of its own: what has been freed is used again, and hides what was taken.
    program = """
import resource, sys
import pyarrow
from ndshm.codec import decode, to_bytes
from ndshm.errors import Error
decode(to_bytes(pyarrow.table({"a": [1]})))
data = open(sys.argv[1], "rb").read()
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**30, -1))  # what is taken and never touched counts here alone
grown = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = grown()
try:
    decode(data)
except Error as error:
    assert error.code == "ERR_NDSHM_CORRUPT_OBJECT"
print(grown() - before)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "object")],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert int(ended.stdout) < 64 * 2**20
