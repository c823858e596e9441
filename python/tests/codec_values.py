"""Values of every kind that the codec takes, and what it means that two of them are alike."""

from __future__ import annotations

import math
from datetime import timezone
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ndshm.codec import RegExp, RemoteError

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
DTYPES += ["float16", "float32", "float64", "complex64", "complex128", ">i2", ">f8"]


def arrays() -> st.SearchStrategy[np.ndarray]:
    def made(dtype: str, shape: list[int], order: str, seed: int) -> np.ndarray:
        size = math.prod(shape)
        numbers = np.random.default_rng(seed).integers(0, 120, size).astype(dtype)
        array = numbers.reshape(shape, order=order)
        return array[..., ::2] if seed % 5 == 0 and shape else array

    shapes = st.lists(st.integers(0, 4), max_size=4)
    return st.builds(made, st.sampled_from(DTYPES), shapes, st.sampled_from("CF"), st.integers(0, 2**16))


def _utf16(text: str) -> str:
    """Two surrogates that belong together are one character, elsewhere."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


# Lone surrogates included.
texts = st.text(st.characters(), max_size=40).map(_utf16) | st.sampled_from(
    ["", "__proto__", "constructor", "\ud800", "x" * 300]
)
numbers = (
    st.integers(-(2**80), 2**80)
    | st.sampled_from([2**53 - 1, 2**53, -(2**53), 2**64, 0, -1])
    | st.floats()
    | st.sampled_from([-0.0, 2.0])
)
dates = st.datetimes(timezones=st.just(timezone.utc)).filter(lambda date: 1700 < date.year < 2240)  # to the microsecond
scalars = st.none() | st.booleans() | numbers | texts | st.binary(max_size=80) | dates
leaves = (
    scalars
    | arrays()
    | st.builds(bytearray, st.binary(max_size=80))
    | st.builds(RegExp, st.sampled_from(["a+", "(?:)", "[^ä]", "\\d"]), st.sampled_from(["", "g", "giu"]))
)
# Of each number one kind: 1, 1.0 and True would be one key.
keys = st.integers() | texts | st.binary(max_size=8) | st.none()


def containers(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    causes = inside.filter(lambda cause: cause is not None)
    return (
        st.lists(inside, max_size=6)
        | st.dictionaries(texts, inside, max_size=6)
        | st.dictionaries(keys, inside, min_size=1, max_size=6)
        | st.sets(keys, max_size=6)
        | st.builds(RemoteError, st.sampled_from(["Error", "TypeError"]), st.none() | texts, st.none() | texts, causes)
    )


values = st.recursive(leaves, containers, max_leaves=25)


def is_alike(actual: Any, expected: Any) -> bool:
    """As it comes out again: arrays are little-endian then."""
    if isinstance(expected, np.ndarray):
        return (
            isinstance(actual, np.ndarray)
            and actual.dtype == expected.dtype.newbyteorder("<")
            and actual.shape == expected.shape
            and np.array_equal(actual, expected)
        )
    if isinstance(expected, RemoteError):
        facts = [(each.name, each.message, each.stack, each.cause) for each in (actual, expected)]
        return type(actual) is RemoteError and facts[0][:3] == facts[1][:3] and is_alike(facts[0][3], facts[1][3])
    if type(actual) is not type(expected):
        return False
    if isinstance(expected, float):
        return math.copysign(1, actual) == math.copysign(1, expected) and (actual == expected or actual != actual)
    if isinstance(expected, list):
        return len(actual) == len(expected) and all(map(is_alike, actual, expected))
    if isinstance(expected, dict):
        same_keys = list(actual) == list(expected) and list(map(type, actual)) == list(map(type, expected))
        return same_keys and all(is_alike(actual[key], expected[key]) for key in expected)
    return bool(actual == expected)
