from __future__ import annotations

import ctypes
import operator
import struct
from typing import Any, Callable, NamedTuple, Union

import numpy as np

from .. import _library
from ..errors import Error, error, wrong_kind
from ._deadline import Deadline
from ._named_state import NamedState, Parameter, StateSpec
from ._primitive import Primitive
from ._words import Words

Number = Union[int, float, bool]


class _DType(NamedTuple):
    """One dtype of values: its width, and how an element becomes the bits of an atomic access and the reverse."""

    name: str
    item_bytes: int
    kind: str
    to_bits: Callable[[Any], int]
    from_bits: Callable[[int], Number]


def _integer(bits: int, signed: bool) -> _DType:
    name = f"int{bits}" if signed else f"uint{bits}"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    mask = 2**bits - 1

    def to_bits(value: Any) -> int:
        try:
            whole = operator.index(value)
        except TypeError:
            raise wrong_kind("a whole number", f"an element of dtype {name}", value) from None
        if not low <= whole <= high:
            raise error(
                "ERR_NDSHM_OUT_OF_RANGE",
                f"Expected a whole number from {low} to {high} for an element of dtype {name} but received {whole}",
            )
        return whole & mask

    return _DType(name, bits // 8, "integer", to_bits, lambda found: found - 2**bits if found > high else found)


def _float(bits: int, code: str, rounded: Any) -> _DType:
    name = f"float{bits}"

    def to_bits(value: Any) -> int:
        try:
            number = rounded(value)  # where struct refuses what does not fit, this gives an infinity
        except TypeError:
            raise wrong_kind("a number", f"an element of dtype {name}", value) from None
        except OverflowError:  # an int that no float comes near
            raise error(
                "ERR_NDSHM_OUT_OF_RANGE", f"Expected a number that dtype {name} can hold but received {value!r:.40}"
            ) from None
        return int.from_bytes(bytes(number), "little")

    return _DType(
        name, bits // 8, "float", to_bits, lambda found: struct.unpack(code, found.to_bytes(bits // 8, "little"))[0]
    )


def _bool_to_bits(value: Any) -> int:
    if not isinstance(value, (bool, np.bool_)) and value not in (0, 1):
        raise wrong_kind("True or False", "an element of dtype bool", value)
    return int(value)


# In this order: the segment has the index.
_DTYPES: tuple[_DType, ...] = (
    _DType("bool", 1, "bool", _bool_to_bits, lambda found: found != 0),
    *(_integer(bits, signed) for bits in (8, 16, 32, 64) for signed in (True, False)),
    _float(32, "<f", ctypes.c_float),
    _float(64, "<d", ctypes.c_double),
)
_BY_NAME: dict[str, int] = {dtype.name: n for n, dtype in enumerate(_DTYPES)}


class Value(Primitive[NamedState]):
    """A number that processes share by name and change atomically: multiprocessing.Value without its lock.

    Nothing is held, so that nothing is lost with a process that dies. No method but until() waits.

    Args:
        name: What all processes call it.
        dtype: numpy's name of what one atomic access can hold: bool, int8 to uint64, float32, float64. Default 'int32',
            or what it was made with.
        value: What it holds at first, default zero; an existing one keeps what it holds.
        ephemeral: It belongs to its users: gone with the last one that closes it. Default False: until unlink().
        allow_foreign_owner: Open one that belongs to another user. Default False.

    Opens it, or makes it; does not block. Errors: ERR_NDSHM_MISMATCH if it was made with another dtype or the name
    means something else, ERR_NDSHM_DTYPE for other dtypes, and those of open(). Errors of all methods:
    ERR_NDSHM_CLOSED; of those that take an element: ERR_NDSHM_INVALID_ARGUMENT, and ERR_NDSHM_OUT_OF_RANGE for what the
    dtype cannot hold.

    Example:
        >>> import ndshm
        >>> done = ndshm.Value("done", "uint32", ephemeral=True)
        >>> done.add(1)  # in any process
        0
        >>> done.until(lambda count: count >= 1)
        1
        >>> done.close()
    """

    def __init__(
        self,
        name: str,
        dtype: str | None = None,
        value: Number | None = None,
        *,
        ephemeral: bool = False,
        allow_foreign_owner: bool = False,
    ) -> None:
        number = _number_of("int32" if dtype is None else dtype)
        wanted = _DTYPES[number]
        first = 0 if value is None else wanted.to_bits(value)

        def init(words: Words, _: int) -> None:
            words.memory.cast("B")[: wanted.item_bytes] = first.to_bytes(wanted.item_bytes, "little")

        given = None if dtype is None else number
        parameter = Parameter("dtype", given, number, _name_of)
        spec = StateSpec("Value", lambda _: (2, 0), (parameter,), init)
        super().__init__(NamedState(name, spec, ephemeral=ephemeral, allow_foreign_owner=allow_foreign_owner))
        found = self._state.parameters[0]
        if found not in range(len(_DTYPES)):
            self.close()
            raise error("ERR_NDSHM_CONTROL_CORRUPT", f"The value '{name}' has been overwritten; create it anew")
        self._dtype = _DTYPES[found]
        self._address = self._state.words.address

    @property
    def dtype(self) -> str:
        return self._dtype.name

    @property
    def value(self) -> Number:
        """load() and store() as an attribute. `v.value += 1` is not atomic; add() is."""
        return self.load()

    @value.setter
    def value(self, value: Number) -> None:
        self.store(value)

    def load(self) -> Number:
        self._state.check()
        return self._dtype.from_bits(self._load())

    def store(self, value: Number) -> None:
        self.exchange(value)

    def add(self, operand: Number) -> Number:
        """Adds; gives what it was before. Integers wrap around at the end of their range. Not for bool."""
        return self._arithmetic("add", operand, 1)

    def sub(self, operand: Number) -> Number:
        """Subtracts; gives what it was before. Integers wrap around at the end of their range. Not for bool."""
        return self._arithmetic("sub", operand, -1)

    def and_(self, operand: Number) -> Number:
        """Bitwise and; gives what it was before. Not for floats."""
        return self._bitwise("and_", operand, _library.fast.ndshm_atomic_and)

    def or_(self, operand: Number) -> Number:
        """Bitwise or; gives what it was before. Not for floats."""
        return self._bitwise("or_", operand, _library.fast.ndshm_atomic_or)

    def xor(self, operand: Number) -> Number:
        """Bitwise exclusive or; gives what it was before. Not for floats."""
        return self._bitwise("xor", operand, _library.fast.ndshm_atomic_xor)

    def exchange(self, value: Number) -> Number:
        """Stores; gives what it was before."""
        return self._change(_library.fast.ndshm_atomic_exchange, self._operand(value))

    def compare_exchange(self, expected: Number, replacement: Number) -> Number:
        """Stores `replacement` if the value is `expected`; gives what it was before.

        Floats are compared by their bits, as in C++: 0.0 is not -0.0, and nan is nan.
        """
        expected_bits, bits = self._operand(expected), self._operand(replacement)
        before = self._compare_exchange(expected_bits, bits)
        self._state.attachment.notify()
        return self._dtype.from_bits(before)

    def until(self, predicate: Callable[[Any], bool], timeout: float | None = None) -> Number:
        """Blocks until `predicate` is true of the value, and gives that.

        The predicate sees the value now and after every change; of several changes in a row maybe the last alone.
        Errors: ERR_NDSHM_TIMEOUT after `timeout` seconds (default: for ever), what the predicate raises.
        """
        return self._state.until(self._satisfying(predicate), Deadline(timeout, self.name))[0]

    async def until_async(self, predicate: Callable[[Any], bool], timeout: float | None = None) -> Number:
        """until(), but without blocking the event loop. The predicate runs in another thread too."""
        found = await self._state.until_async(self._satisfying(predicate), Deadline(timeout, self.name))
        return found[0]

    def _satisfying(self, predicate: Callable[[Any], bool]) -> Callable[[], tuple[Number] | None]:
        if not callable(predicate):
            raise wrong_kind("a function", "the predicate", predicate)

        def look() -> tuple[Number] | None:
            value = self.load()
            return (value,) if predicate(value) else None

        return look

    def _operand(self, value: Number) -> int:
        """Checked, as bits."""
        self._state.check()
        return self._dtype.to_bits(value)

    def _load(self) -> int:
        return _library.fast.ndshm_atomic_load(self._address, self._dtype.item_bytes)

    def _compare_exchange(self, expected: int, replacement: int) -> int:
        return _library.fast.ndshm_atomic_compare_exchange(self._address, self._dtype.item_bytes, expected, replacement)

    def _change(self, change: Callable[[int, int, int], int], bits: int) -> Number:
        before = change(self._address, self._dtype.item_bytes, bits)
        self._state.attachment.notify()
        return self._dtype.from_bits(before)

    def _arithmetic(self, method: str, operand: Number, sign: int) -> Number:
        dtype = self._dtype
        if dtype.kind == "bool":
            raise self._without(method)
        bits = self._operand(operand)
        if dtype.kind == "integer":
            return self._change(_library.fast.ndshm_atomic_add, sign * bits & (256**dtype.item_bytes - 1))
        while True:
            before = self._load()
            total = dtype.to_bits(dtype.from_bits(before) + sign * float(operand))
            if self._compare_exchange(before, total) == before:
                self._state.attachment.notify()
                return dtype.from_bits(before)

    def _bitwise(self, method: str, operand: Number, change: Callable[[int, int, int], int]) -> Number:
        if self._dtype.kind == "float":
            raise self._without(method)
        return self._change(change, self._operand(operand))

    def _without(self, method: str) -> Error:
        return error("ERR_NDSHM_DTYPE", f"A Value of dtype {self.dtype} has no {method}()")


def _name_of(number: int) -> str:
    return _DTYPES[number].name if number in range(len(_DTYPES)) else "unknown"


def _number_of(dtype: Any) -> int:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in _BY_NAME:
        raise error("ERR_NDSHM_DTYPE", f"A Value cannot be {name}; it can be {', '.join(_BY_NAME)}")
    return _BY_NAME[name]
