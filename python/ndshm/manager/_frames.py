"""Frames of messages, as lib/manager/frames.ts describes them."""

from __future__ import annotations

import json
import struct
from collections.abc import Generator
from typing import Any, NoReturn

from ..errors import Error, bytes_in_words, error
from ._limits import MAX_JSON_BYTES, MAX_MESSAGE_BYTES

# Bytes of the frame, bytes of its JSON, how many attachments.
_HEAD = struct.Struct("<3I")
_LENGTH_BYTES = 4
_MAX_ATTACHMENTS = 4096

EMPTY = _HEAD.pack(_HEAD.size + 2, 2, 0) + b"[]"
"""A frame without messages."""


def broken(what: str) -> Error:
    """The other side has broken the rules."""
    return error("ERR_NDSHM_PROTOCOL", f"The other side sent {what}")


def write_frame(message: Any) -> tuple[bytes, ...]:
    """One message as a frame, in pieces to be sent in this order. Errors: ERR_NDSHM_LIMIT."""
    found: list[tuple[list, bytes]] = []
    items = [_without_bytes(message, [0], found)]
    if found:
        items.append([place for place, _ in found])
    text = json.dumps(items, separators=(",", ":"), allow_nan=False).encode()
    attachments = [attachment for _, attachment in found]
    lengths = struct.pack(f"<{len(attachments)}I", *(min(len(each), 2**32 - 1) for each in attachments))
    total = _HEAD.size + len(lengths) + len(text) + sum(map(len, attachments))
    for count, most in ((len(text), MAX_JSON_BYTES), (total, MAX_MESSAGE_BYTES)):
        if count > most:
            words = f"A message has {bytes_in_words(count)}, and may have {bytes_in_words(most)}"
            raise error("ERR_NDSHM_LIMIT", f"{words}: send less at a time")
    return (_HEAD.pack(total, len(text), len(attachments)) + lengths + text, *attachments)


def _without_bytes(value: Any, place: list, found: list[tuple[list, bytes]]) -> Any:
    """The same with 0 in place of bytes, which it puts into `found`."""
    if isinstance(value, bytes):
        found.append((place, value))
        return 0
    if isinstance(value, list):
        return [_without_bytes(each, [*place, n], found) for n, each in enumerate(value)]
    if isinstance(value, dict):
        return {key: _without_bytes(each, [*place, key], found) for key, each in value.items()}
    return value


class FrameReader:
    """Finds the messages in a row of bytes, however that is cut. What it keeps is in proportion to what has come, not
    to what a frame promises.
    """

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._parts = self._read()
        self._wanted = next(self._parts)
        self._gathered = bytearray()

    @property
    def missing(self) -> int:
        """How many bytes it can take at least before it is in another frame: 1 or more."""
        return self._wanted - len(self._gathered)

    def push(self, data: bytes) -> list[Any]:
        """The messages that are there now. Attachments in them are bytearrays. Errors: ERR_NDSHM_PROTOCOL."""
        rest = memoryview(data)
        while True:
            piece = rest[: self.missing]
            self._gathered += piece
            rest = rest[len(piece) :]
            if len(self._gathered) < self._wanted:
                break
            part, self._gathered = self._gathered, bytearray()
            self._wanted = self._parts.send(part)
        messages, self._messages = self._messages, []
        return messages

    def _read(self) -> Generator[int, bytearray, NoReturn]:
        """Is given parts of as many bytes as it yields."""
        while True:
            total, json_bytes, count = _HEAD.unpack((yield _HEAD.size))
            if total > MAX_MESSAGE_BYTES or json_bytes > MAX_JSON_BYTES or count > _MAX_ATTACHMENTS:
                raise broken(f"a frame of {total} bytes with {json_bytes} of JSON and {count} attachments")
            lengths = struct.unpack(f"<{count}I", (yield _LENGTH_BYTES * count))
            if total != _HEAD.size + _LENGTH_BYTES * count + json_bytes + sum(lengths):
                raise broken(f"a frame of {total} bytes with parts of another length")
            messages = _parse((yield json_bytes))
            places = messages.pop() if lengths and messages else []
            if not isinstance(places, list) or len(places) != len(lengths):
                raise broken("attachments without a place")
            for place, length in zip(places, lengths):
                _attach(messages, place, (yield length))
            self._messages += messages


def _parse(text: bytearray) -> list:
    try:
        messages = json.loads(text.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as cause:
        raise broken("what is no JSON") from cause
    if not isinstance(messages, list):
        raise broken("JSON that is no list")
    return messages


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")


def _attach(messages: list, place: Any, attachment: bytearray) -> None:
    """Follows a path of the other side's to the 0 that stands for the bytes."""
    holder: Any = None
    step: Any = None
    value: Any = messages
    for step in place if isinstance(place, list) else []:
        holder = value
        is_item = type(holder) is list and type(step) is int and 0 <= step < len(holder)
        is_entry = type(holder) is dict and type(step) is str and step in holder
        if not is_item and not is_entry:
            raise broken("an attachment for a place that is not there")
        value = holder[step]
    if holder is None or type(value) is not int or value != 0:
        raise broken("an attachment for a place that does not wait for it")
    holder[step] = attachment
