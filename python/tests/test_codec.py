"""Values as objects: what goes in comes out."""

from __future__ import annotations

import gc
import struct
import weakref
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from codec_values import DTYPES, is_alike, values
from ndshm.codec import RegExp, RemoteError, decode, encode, encode_array, to_bytes
from ndshm.errors import Error, InvalidArgument
from object_bytes import object_bytes, special


@settings(max_examples=400, deadline=None)
@given(values)
def test_any_value_comes_out_alike(value: object) -> None:
    assert is_alike(decode(to_bytes(value)), value)


@settings(max_examples=100, deadline=None)
@given(values)
def test_the_parts_of_an_object_are_the_whole(value: object) -> None:
    encoded = encode(value)
    whole = bytearray(b"\xa5" * encoded.byte_length)  # what nobody writes there means nothing
    whole[: len(encoded.head)] = encoded.head
    for offset, view in encoded.buffers:
        assert offset % (4096 if len(view) >= 2**20 else 64) == 0
        whole[offset : offset + len(view)] = view
    assert is_alike(decode(whole), value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, ())), [1, [2, []]]),
        (frozenset([1, 2]), {1, 2}),
        (np.float32(1.5), 1.5),
        (np.float64(-0.0), -0.0),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.complex64(1j), np.array(1j, "complex64")),
        (1 + 2j, np.array(1 + 2j)),
        (memoryview(b"abc"), np.frombuffer(b"abc", "u1")),
        (np.datetime64("2024-01-02T03:04:05.678901"), datetime(2024, 1, 2, 3, 4, 5, 678901, timezone.utc)),
        (datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2024, 1, 1, tzinfo=timezone.utc)),
        ({(1, 2): "x"}, [([1, 2], "x")]),
        ({frozenset([1])}, [{1}]),
        (RemoteError("Strange"), RemoteError("Error")),
    ],
)
def test_what_has_no_kind_of_its_own_comes_out_as_the_next_one(value: object, expected: object) -> None:
    assert repr(decode(to_bytes(value))) == repr(expected)


def test_dates_beyond_those_of_datetime_are_numpys() -> None:
    early = np.datetime64(-(10**14), "ms")
    assert decode(to_bytes(early)) == early
    for unit in ("s", "D", "Y"):
        assert np.isnat(decode(to_bytes(np.datetime64(2**40 if unit == "Y" else 2**62, unit))))
    assert np.isnat(decode(to_bytes(np.datetime64("NaT"))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_a_read_only_view_on_the_objects_bytes(dtype: str, order: str) -> None:
    value = np.arange(6).reshape(2, 3).astype(dtype, order=order)
    memory = bytearray(to_bytes([value]))
    array = decode(memory)[0]
    assert is_alike(array, value)
    assert array.flags.c_contiguous == (order == "C")
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.flags.writeable = True
    memory[-array.nbytes :] = bytes(array.nbytes)
    assert not array.any()


def test_arrays_are_encoded_without_a_copy() -> None:
    whole = np.zeros((300, 1000))
    for array in (whole, whole.T, whole[10:20]):
        [(_, view)] = encode(array).buffers
        assert np.shares_memory(np.frombuffer(view, "u1"), array)


def test_what_was_decoded_keeps_the_bytes() -> None:
    class Memory(bytearray):
        pass

    memory = Memory(to_bytes({"x": np.ones(3)}))
    watched = weakref.ref(memory)
    array = decode(memoryview(memory))["x"]
    del memory
    gc.collect()
    assert array.tolist() == [1, 1, 1]
    del array
    gc.collect()
    assert watched() is None


def test_what_is_in_several_places_is_so_again() -> None:
    shared, array, table = {"a": 1}, np.ones(2), pa.table({"a": [1]})
    value = [shared, (1, shared), {"x": array}, {None: array}, table, [table]]
    found = decode(to_bytes(value))
    assert found[0] is found[1][1]
    assert found[2]["x"] is found[3][None]
    assert found[4] is found[5][0]
    assert len(encode(value).buffers) == 2


def test_circles_survive() -> None:
    ring: list = []
    ring += [ring, {"ring": ring}, {1: ring}]
    error = RemoteError("Error", "x")
    error.cause = [error]
    found, again = decode(to_bytes([ring, error]))
    assert found[0] is found and found[1]["ring"] is found and found[2][1] is found
    assert again.cause[0] is again


def test_tuples_that_share_tuples_do_not_grow() -> None:
    value: tuple = (0,)
    for _ in range(60):
        value = (value, value)
    assert len(to_bytes(value)) < 10_000


def test_values_may_be_nested_to_any_depth() -> None:
    value: object = "bottom"
    for n in range(30_000):
        value = [[value], {"deep": value}, {0: value}][n % 3]
    found = decode(to_bytes(value))
    depth = 0
    while found != "bottom":
        found = next(iter(found.values())) if isinstance(found, dict) else found[0]
        depth += 1
    assert depth == 30_000


def test_exceptions_are_errors() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as outer:
        found = decode(to_bytes(outer))
    assert isinstance(found, RemoteError)
    assert (found.name, found.message) == ("Error", "ValueError: outer")
    assert "test_exceptions_are_errors" in found.stack
    assert found.__cause__ is found.cause
    assert found.cause.message == "KeyError: 'inner'"
    assert str(decode(to_bytes(TypeError("no")))) == "TypeError: no"


def test_tables_are_views() -> None:
    columns = {"n": pa.array(range(1000)), "text": ["ä", None] * 500, "kind": pa.array(["a", "b"] * 500)}
    table = pa.table({**columns, "kind": columns["kind"].dictionary_encode()})
    memory = bytearray(to_bytes({"table": table, "batch": table.to_batches()[0]}))
    found = decode(memory)
    assert found["table"].equals(table) and found["batch"].equals(table)
    data = np.frombuffer(found["table"]["n"].chunk(0).buffers()[1], "i8")
    assert np.shares_memory(data, np.frombuffer(memory, "u1"))


class Unknown:
    pass


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Unknown(), "value is a Unknown"),
        ({"a": [1, {"it's": Unknown()}]}, """value['a'][1]["it's"] is a Unknown"""),
        ({1: (Unknown(),)}, "value[1][0] is a Unknown"),
        ({Unknown: 1}, "value.keys()[0] is a type"),
        ({frozenset([len])}, "value.elements.elements is a builtin_function_or_method"),
        (RemoteError("Error", cause=[len]), "value.cause[0] is"),
        ([np.array(["text"])], "value[0] is an array of dtype <U4"),
        (np.array([None]), "value is an array of dtype object"),
        (np.array([("x", 1)], "U1,i4"), "value is an array of dtype"),
        (np.timedelta64(5, "ns"), "value is an array of dtype timedelta64"),
        (np.ma.array([1]), "value is a masked array"),
        (datetime(2024, 1, 1), "value is a datetime without a time zone"),
    ],
)
def test_what_cannot_be_encoded_is_named_by_its_path(value: object, said: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        encode(value)
    assert said in str(caught.value)


def test_an_array_that_is_still_to_come_has_its_place() -> None:
    array = np.arange(12, dtype="f4").reshape(3, 4, order="F")
    encoded = encode_array("float32", (3, 4), "F")
    [(offset, _)] = encoded.buffers
    assert encoded.byte_length - offset == array.nbytes
    assert encode(array).byte_length == encoded.byte_length
    whole = encoded.head + bytes(offset - len(encoded.head)) + array.tobytes("F")
    assert is_alike(decode(whole), array)
    with pytest.raises(Error, match="float128"):
        encode_array("float128", (3,))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([special(0), ["undefined"]], None),
        ([special(0), ["-0"]], -0.0),
        ([special(0), ["BigInt", "-0x1f"]], -31),
        ([special(0), ["UTF16", b"\x00\xd8a\x00"]], "\ud800a"),
        ([special(0), ["Date", 1500]], datetime(1970, 1, 1, 0, 0, 1, 500_000, timezone.utc)),
        ([special(0), ["Date", None]], np.datetime64("NaT", "ms")),
        ([special(0), ["Date", 1e300]], np.datetime64("NaT", "ms")),
        ([special(0), ["RegExp", "a+", "g"]], RegExp("a+", "g")),
        ([special(1), ["BigInt", "0x2"], ["Boxed", special(0)]], 2),
        ([special(0), ["Error", "RangeError", "x", None]], RemoteError("RangeError", "x")),
        ([special(0), ["Error", "Error", None, "at", 5]], RemoteError("Error", None, "at", 5)),
        ([special(0), ["Map", "a", 1, None, 2]], {"a": 1, None: 2}),
        ([special(0), ["Map", 1, "a", True, "b"]], [(1, "a"), (True, "b")]),
        ([special(0), ["Map", [1], "a"]], [([1], "a")]),
        ([special(0), ["Map", special(1), "a"], ["Set"]], [(set(), "a")]),
        ([special(0), ["Map", special(1), "a"], ["RegExp", "b", ""]], {RegExp("b"): "a"}),
        ([special(0), ["Set", 1, 2.5]], {1, 2.5}),
        ([special(0), ["Set", 1, {}]], [1, {}]),
        ([special(0), ["List", [1]]], [1]),
        ([special(0), ["Object", {"a": 1}]], {"a": 1}),
        (
            [special(0), ["Entries", "__proto__", 1, special(1), 2], ["UTF16", b"\x00\xd8"]],
            {"__proto__": 1, "\ud800": 2},
        ),
        ([special(0), ["Array", 3, "1", "x"]], [None, "x", None]),
        ([special(0), ["Array", 2**32 - 1, "7", "x"]], {7: "x"}),
        ([special(0), ["Array", 1, "0", "x", "index", 3]], {0: "x", "index": 3}),
        ([special(0), ["Buffer", 0]], b"\x01" + bytes(7)),
        ([special(0), ["ArrayBuffer", 0]], bytearray(b"\x01" + bytes(7))),
        ([special(0), ["DataView", 0]], np.array([1] + [0] * 7, "u1")),
        ([special(0), ["ndarray", "|b1", [2, 4], "F", 0]], np.array([[True] + [False] * 3, [False] * 4])),
        ([special(0), ["ndarray", "=i8", [], "C", 0]], np.array(1)),
        ([b"bytes", None], None),
    ],
)
def test_each_special_is_what_it_means(document: list, expected: object) -> None:
    if document[-1] is None:
        document, expected = [document[0]], document[0]
    found = decode(object_bytes(document, [struct.pack("<q", 1)]))
    assert repr(found) == repr(expected)


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("kind", ["Int", "Uint", "Float"])
def test_each_typed_array_is_an_array(kind: str, bits: int) -> None:
    if (kind, bits) == ("Float", 8):
        return
    tag = f"{'Big' if bits == 64 and kind != 'Float' else ''}{kind}{bits}Array"
    value = np.arange(5).astype(f"{kind.lower()}{bits}")
    found = decode(object_bytes([special(0), [tag, 0]], [value.tobytes()]))
    assert is_alike(found, value)


def test_clamped_arrays_are_bytes() -> None:
    assert is_alike(decode(object_bytes([special(0), ["Uint8ClampedArray", 0]], [b"ab"])), np.frombuffer(b"ab", "u1"))


def test_text_that_is_no_utf8_has_replacements() -> None:
    assert decode(object_bytes(b"\x91\xa3a\xffb")) == "a\ufffdb"
