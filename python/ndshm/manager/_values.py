"""How arguments and results cross: scalars as they are, all else as an object's bytes, with references beside it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..codec import decode, to_bytes
from ..codec._object_format import corrupt
from ..errors import InvalidArgument, error
from ._frames import broken
from .proxy import Proxy, Reach, proxy_for, reach_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._pipes import Then
    from ._session import Session

    Expect = Callable[[], Then]

_MAX_TEXT_LENGTH = 4096
_MAX_SCALARS = 16
_MAX_NUMBER = 2**53 - 1
_CONSTANTS = {"undefined": None, "inf": math.inf, "-inf": -math.inf, "nan": math.nan}


class Reference:
    """Something of the manager that this side was given, and gives up when this object goes."""

    __slots__ = ("number", "session")

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.number = number

    def __del__(self) -> None:
        self.session.release(self.number)


class Signal:
    """Tells the manager, while a call waits there, that its caller has given it up."""

    __slots__ = ("aborted", "number", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.aborted = False
        # The manager's calls that want to know it.
        self.waiting: list[int] = []


def encode_arguments(args: tuple, session: Session) -> list:
    """Errors: those of codec.encode(); ERR_NDSHM_INVALID_ARGUMENT for a proxy of another connection."""
    if len(args) <= _MAX_SCALARS and all(map(_is_scalar, args)):
        return [_constant(value) if type(value) is float else value for value in args]
    references: list[list] = []

    def instance(value: Any) -> list | None:
        if isinstance(value, Proxy):
            reach = reach_of(value)
            if reach.session is not session:
                raise InvalidArgument("Expected a proxy of this connection but received one of another")
            return ["Home", reach.id]
        if isinstance(value, Signal):
            references.append(["export", value.number])
            return ["AbortSignal", len(references) - 1]
        return None

    return [[[["bytes", to_bytes(list(args), instance)], *references]]]


def _is_scalar(value: Any) -> bool:
    kind = type(value)
    if kind is int:
        return -_MAX_NUMBER <= value <= _MAX_NUMBER
    if kind is float:
        return value != 0 or math.copysign(1, value) > 0
    if kind is str:
        return len(value) <= _MAX_TEXT_LENGTH
    return value is None or kind is bool


def _constant(value: float) -> Any:
    if math.isfinite(value):
        return value
    return ["nan"] if math.isnan(value) else ["inf" if value > 0 else "-inf"]


def decode_answer(answer: Any, session: Session, expect: Expect) -> Any:
    """The result of a call. `expect` gives who is to be told of the end of an array that is still on its way.

    Errors: ERR_NDSHM_PROTOCOL, ERR_NDSHM_CORRUPT_OBJECT, ERR_NDSHM_LIMIT, ERR_NDSHM_UNSUPPORTED.
    """
    if not isinstance(answer, dict):
        return decode_value(answer, session, expect)
    if answer.keys() != {"o", "i", "t"}:
        raise broken("an answer that no manager gives")
    reference = _reference(answer["o"], session)
    if not isinstance(reference, Reference):
        raise broken("an object that is none")
    return proxy_for(Reach(session, reference, str(answer["i"]), str(answer["t"])))


def decode_value(sent: Any, session: Session, expect: Expect) -> Any:
    if not isinstance(sent, list):
        if isinstance(sent, (dict, bytearray)):
            raise broken("a value that no manager sends")
        return sent
    inside = sent[0] if len(sent) == 1 else None
    if isinstance(inside, str) and inside in _CONSTANTS:
        return _CONSTANTS[inside]
    if not isinstance(inside, list) or not inside:
        raise broken("a value that no manager sends")
    data = inside[0]
    # All of them are taken over, so that what nobody keeps is given up.
    references = [_reference(each, session) for each in inside[1:]]
    if not isinstance(data, list) or len(data) != 2 or data[0] != "bytes" or not isinstance(data[1], bytearray):
        raise broken("a value that no manager sends")
    return decode(data[1], lambda special: _meaning_of(special, references, session, expect))


def _reference(sent: Any, session: Session) -> Reference | int:
    """To an object of the manager, or the number of a stream."""
    if isinstance(sent, list) and len(sent) == 2 and type(sent[1]) is int:
        if sent[0] == "export" and sent[1] < 0:
            return Reference(session, sent[1])
        if sent[0] == "readable" and sent[1] > 0:
            return sent[1]
    raise broken("a reference that no manager sends")


def _meaning_of(special: list, references: list[Reference | int], session: Session, expect: Expect) -> Any:
    tag, parts = special[0], special[1:]
    if tag == "Reference" and len(parts) == 3:
        found = _item(references, parts[0])
        if isinstance(found, Reference):
            return proxy_for(Reach(session, found, str(parts[1]), str(parts[2])))
    elif tag == "ArrayCopy" and len(parts) == 3:
        found = _item(references, parts[2])
        if isinstance(found, int):
            return session.pipes.receive(found, parts[0], parts[1], expect())
    elif tag in ("Iterator", "AbortSignal"):
        raise error("ERR_NDSHM_UNSUPPORTED", f"The result has an {tag} in it, which this client does not take")
    else:
        return None
    raise corrupt("it has a reference that is not there")


def _item(references: list[Reference | int], number: Any) -> Reference | int | None:
    return references[number] if type(number) is int and 0 <= number < len(references) else None
