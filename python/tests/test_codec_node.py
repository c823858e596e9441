"""The same bytes in Node: what one language wrote, the other reads."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec_values import is_alike, values
from ndshm.codec import RegExp, RemoteError, decode, encode, to_bytes

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node") or "node"

PRELUDE = """
const assert = require('node:assert/strict');
const { readFileSync, writeSync } = require('node:fs');
const ndshm = require('./dist/index.js');
const { decode } = require('./dist/codec/decode.js');
const { encode } = require('./dist/codec/encode.js');

function say(value) {
  const { byteLength, head, buffers } = encode(value);
  const object = Buffer.alloc(byteLength);
  object.set(head);
  for (const { offset, bytes } of buffers) object.set(bytes, offset);
  for (let at = 0; at < byteLength; ) at += writeSync(1, object, at);
}

function heard() {
  const bytes = readFileSync(0);
  const memory = new Uint8Array(bytes.length); // which is aligned
  memory.set(bytes);
  return decode(memory);
}
"""


def node(program: str, said: bytes = b"") -> bytes:
    """What a program in Node writes, which may hear() an object's bytes and say() a value as such."""
    ran = subprocess.run([NODE, "-e", PRELUDE + program], input=said, cwd=ROOT, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


def as_node_has_it(value: Any) -> Any:
    """Whole floats are ints, and dates have whole milliseconds, towards 1970."""
    if isinstance(value, float) and value.is_integer() and not (value == 0 and str(value) == "-0.0"):
        return int(value) if abs(value) < 2**53 else value
    if isinstance(value, datetime):
        drop = value.microsecond % 1000
        up = 1000 if drop and value < datetime(1970, 1, 1, tzinfo=timezone.utc) else 0
        return value + np.timedelta64(up - drop, "us").item()
    if isinstance(value, list):
        return [as_node_has_it(each) for each in value]
    if isinstance(value, dict):
        return {key: as_node_has_it(each) for key, each in value.items()}
    if isinstance(value, RemoteError):
        return RemoteError(value.name, value.message, value.stack, as_node_has_it(value.cause))
    return value


def in_order(value: Any) -> Any:
    """JavaScript puts keys that are whole numbers first."""
    if isinstance(value, list):
        return [in_order(each) for each in value]
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value, key=repr)}
    if isinstance(value, RemoteError):
        return RemoteError(value.name, value.message, value.stack, in_order(value.cause))
    return value


@settings(max_examples=30, deadline=None)
@given(st.lists(values, max_size=8))
def test_any_value_survives_the_way_through_node(value: list) -> None:
    found = decode(node("say(heard());", to_bytes(value)))
    assert is_alike(in_order(found), in_order(as_node_has_it(value)))


IN_BOTH = [
    ("null", None),
    ("[true, 1, -1.5, 'ä', [], {}]", [True, 1, -1.5, "ä", [], {}]),
    ("{ a: { '': [2 ** 53 - 1] } }", {"a": {"": [2**53 - 1]}}),
    ("NaN", float("nan")),
    ("-0", -0.0),
    ("2n ** 70n", 2**70),
    ("-(2n ** 63n)", -(2**63)),
    ("'\\ud800'", "\ud800"),
    ("JSON.parse('{\"__proto__\": 1}')", {"__proto__": 1}),
    ("new Map([[1, 'a'], [null, { b: 2 }]])", {1: "a", None: {"b": 2}}),
    ("new Set([1, 'b', null])", {1, "b", None}),
    ("new Date(1500)", datetime(1970, 1, 1, 0, 0, 1, 500_000, timezone.utc)),
    ("new Date(-1e14)", np.datetime64(-(10**14), "ms")),
    ("/a(b)?/gi", RegExp("a(b)?", "gi")),
    ("Buffer.from('bytes')", b"bytes"),
    ("Uint8Array.of(1, 2).buffer", bytearray([1, 2])),
]

FROM_NODE = [
    ("undefined", None),
    ("5n", 5),
    ("2.0", 2),
    ("[1, , 3]", [1, None, 3]),
    ("Object.assign(['x'], { index: 1 })", {0: "x", "index": 1}),
    ("new Map([[{}, 1]])", [({}, 1)]),
    ("new Map([[1, 'a'], [true, 'b']])", [(1, "a"), (True, "b")]),
    ("new Set([[1], 2])", [[1], 2]),
    ("Object(7)", 7),
    ("new DataView(Uint8Array.of(1, 2).buffer)", np.array([1, 2], "u1")),
    ("Float64Array.of(0.5, 1)", np.array([0.5, 1])),
    ("BigInt64Array.of(-5n)", np.array([-5])),
    ("Uint8ClampedArray.of(255)", np.array([255], "u1")),
    ("new Uint16Array(0)", np.array([], "u2")),
    ("{ bare: Object.assign(Object.create(null), { a: 1 }) }", {"bare": {"a": 1}}),
]


@pytest.mark.parametrize(("source", "expected"), [*IN_BOTH, *FROM_NODE], ids=lambda each: str(each)[:40])
def test_what_node_wrote(source: str, expected: object) -> None:
    assert is_alike(decode(node(f"say({source});")), expected)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        *IN_BOTH,
        ("2", 2.0),
        ("[1, [2]]", (1, (2,))),
        ("0.5", np.float32(0.5)),
        ("2n ** 64n - 1n", np.uint64(2**64 - 1)),
        ("new Date(1)", np.datetime64(1999, "us")),
    ],
    ids=lambda each: str(each)[:40],
)
def test_what_python_wrote(source: str, value: object) -> None:
    node(f"assert.deepStrictEqual(heard(), {source});", to_bytes(value))


def test_dates_that_are_none() -> None:
    assert np.isnat(decode(node("say(new Date(NaN));")))
    node("assert.equal(`${heard()}`, 'Invalid Date');", to_bytes(np.datetime64("NaT")))


def test_arrays_of_both_orders_and_every_dtype() -> None:
    dtypes = json.loads(node("console.log(JSON.stringify(ndshm.dtypes));"))
    numbers = np.arange(6).reshape(2, 3)
    made = {f"{dtype} {order}": numbers.astype(dtype, order=order) for dtype in dtypes for order in "CF"}
    program = """
    const found = heard();
    for (const [what, array] of Object.entries(found)) {
      const [dtype, order] = what.split(' ');
      assert.deepStrictEqual([array.dtype, array.shape], [dtype, [2, 3]]);
      assert(order === 'C' ? array.isCContiguous : array.isFContiguous);
      assert.equal(Number(array.get(1, 0).re ?? array.get(1, 0)), dtype === 'bool' ? 1 : 3);
    }
    say(found);
    """
    found = decode(node(program, to_bytes(made)))
    assert len(found) == 28
    assert is_alike(found, made)


def test_what_goes_in_circles() -> None:
    found = decode(node("const a = { list: [] }; a.list.push(a, new Map([['a', a]])); say(a);"))
    assert found["list"][0] is found and found["list"][1]["a"] is found
    node("const it = heard(); assert(it.list[0] === it && it.list[1].get(1) === it);", to_bytes(circle()))


def circle() -> dict:
    made: dict = {"list": []}
    made["list"] += [made, {1: made}]
    return made


def test_errors_in_both_directions() -> None:
    found = decode(node("say(new RangeError('far', { cause: new Error('near') }));"))
    assert (found.name, found.message, found.cause.message) == ("RangeError", "far", "near")
    assert found.stack.startswith("RangeError: far\n    at ")
    program = """
    const error = heard();
    assert(error instanceof TypeError && error.cause instanceof Error);
    assert.deepStrictEqual([error.message, error.cause.message], ['wrong', 'ValueError: deeper']);
    """
    try:
        raise TypeError("wrong") from ValueError("deeper")
    except TypeError as error:
        node(program, to_bytes(error))


def test_tables_in_both_directions() -> None:
    table = pa.table({"n": pa.array([1, 2, None], "i4"), "text": ["ä", None, "b"]})
    program = """
    const table = heard();
    assert.deepStrictEqual([...table.getChild('n')], [1, 2, null]);
    assert.deepStrictEqual([...table.getChild('text')], ['ä', null, 'b']);
    say(table);
    """
    assert decode(node(program, to_bytes(table))).to_pydict() == table.to_pydict()


def test_plain_values_have_the_same_bytes() -> None:
    value = {"n": 1, "list": [1.5, None, True, "ä", -200, 2**40, "x" * 300], "deep": {"a": {"b": []}}}
    assert node(f"say({json.dumps(value)});") == encode(value).head
