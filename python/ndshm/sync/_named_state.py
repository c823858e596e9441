from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, Optional, TypeVar
from weakref import WeakSet

from .._attachment import Attachment
from .._forks import on_fork
from .._lock import PeerId
from .._options import boolean_option, check_name
from .._segments import create_segment, open_segment
from .._stop import Stop, in_thread
from ..errors import Timeout, error
from ._deadline import Deadline
from ._words import Words

T = TypeVar("T")

# Gives None as long as there is nothing to see.
Look = Callable[[], Optional[T]]
Watched = Callable[[], Sequence[PeerId]]


@dataclass(frozen=True)
class Parameter:
    """What a primitive is made with: a number that all who open it have in common."""

    name: str
    # What the caller asks for; None = whatever it was made with.
    given: int | None
    # What it is made with if the caller does not say.
    otherwise: int
    # How to write it, if not as a number.
    write: Callable[[int], str] = str


@dataclass(frozen=True)
class StateSpec:
    """What the state of one kind of primitive looks like."""

    # Which primitive it is, at most 24 characters.
    kind: str
    # How many words of state there are, all 0 at first, and bytes after them, a multiple of 8.
    size: Callable[..., tuple[int, int]]
    # At most 8.
    parameters: Sequence[Parameter] = ()
    # Puts down what it begins with, before the segment has its name.
    init: Callable[..., None] | None = None
    # Looks at the words of one that exists; False = it has ended: its name is taken away, and another made.
    is_alive: Callable[[Words], bool] | None = None


# The segment is an int32 array: the kind; how many words of state there are, and padding; the parameters; the words,
# padded so that what follows is aligned to 8 bytes; the bytes.
_KIND_BYTES = 24
_COUNT_AT = 6
_PARAMETERS_AT = 8
_HEAD_WORDS = 16


def _evenly(words: int) -> int:
    return words + words % 2


class NamedState:
    """The state of a named primitive in a segment of its own: words, bytes, lock and change signal.

    Whoever comes first makes it, complete, in one atomic step; everybody else opens it.
    """

    def __init__(
        self, name: str, spec: StateSpec, *, ephemeral: bool = False, allow_foreign_owner: bool = False
    ) -> None:
        self.name = check_name(name)
        self._me: PeerId | None = None
        boolean_option(ephemeral, "ephemeral")
        boolean_option(allow_foreign_owner, "allow_foreign_owner")
        self.attachment = _open_or_create(name, spec, ephemeral, allow_foreign_owner)
        try:
            memory = self.attachment.memory
            count = _checked_words(name, spec.kind, memory)
            # As they are, whatever the caller said or left open; in the order of the spec.
            self.parameters = _checked_parameters(name, spec, memory)
            _check_size(name, spec, self.parameters, count, memory)
            self.words = _words_of(self.attachment, count)
            self.bytes = memory[4 * (_HEAD_WORDS + _evenly(count)) :]
        except BaseException:
            self.attachment.close()
            raise
        _states.add(self)

    @property
    def me(self) -> PeerId:
        """This attachment's life; another one in a forked child."""
        if self._me is None:
            self._me = PeerId(self.attachment.slot, self.attachment.generation)
        return self._me

    @property
    def closed(self) -> bool:
        return self.attachment.closed

    def check(self) -> None:
        """Raises ERR_NDSHM_CLOSED, or ERR_NDSHM_TRUNCATED."""
        self.attachment.check()

    def is_dead(self, peer: PeerId) -> bool:
        """Whether a peer's life is over, as the kernel knows: half a microsecond."""
        return self.attachment.is_dead(*peer)

    def until(self, look: Look[T], deadline: Deadline, watched: Watched = tuple, stop: Stop | None = None) -> T:
        """Blocks until `look` gives something, now or after a change or the death of one that is watched."""
        try:
            return self.attachment.wait_until(look, deadline.seconds(), watched, stop)
        except Timeout:
            raise deadline.error() from None

    async def until_async(self, look: Look[T], deadline: Deadline, watched: Watched = tuple) -> T:
        """until(), but in another thread, where `look` runs too."""
        found = look()
        if found is not None:
            return found
        stop = Stop()
        return await in_thread(lambda: self.until(look, deadline, watched, stop), stop)

    def close(self) -> None:
        self.attachment.close()

    def unlink(self) -> None:
        self.attachment.unlink()


_states: WeakSet[NamedState] = WeakSet()


def _in_child() -> None:
    for state in tuple(_states):
        state._me = None


on_fork(_in_child)


def _open_or_create(name: str, spec: StateSpec, ephemeral: bool, allow_foreign_owner: bool) -> Attachment:
    while True:
        try:
            attachment = open_segment(name, "r+", allow_foreign_owner)
            if not _has_ended(name, spec, attachment):
                return attachment
            # Whoever said so died before it took the name away.
            attachment.unlink()
            attachment.close()
            continue
        except FileNotFoundError:
            pass
        try:
            return _create(name, spec, ephemeral)
        except FileExistsError:
            pass  # somebody was faster: open theirs


def _create(name: str, spec: StateSpec, ephemeral: bool) -> Attachment:
    parameters = [each.otherwise if each.given is None else each.given for each in spec.parameters]
    count, byte_length = spec.size(*parameters)

    def init(attachment: Attachment) -> None:
        kind = spec.kind.encode()
        attachment.memory[: len(kind)] = kind
        words = attachment.memory.cast("I")
        words[_COUNT_AT] = count
        for n, parameter in enumerate(parameters):
            words[_PARAMETERS_AT + n] = parameter
        if spec.init is not None:
            spec.init(_words_of(attachment, count), *parameters)

    shape = (_HEAD_WORDS + _evenly(count) + byte_length // 4,)
    return create_segment(name, "int32", shape, ephemeral=ephemeral, init=init)


def _has_ended(name: str, spec: StateSpec, attachment: Attachment) -> bool:
    if spec.is_alive is None:
        return False
    try:
        count = _checked_words(name, spec.kind, attachment.memory)
        return not spec.is_alive(_words_of(attachment, count))
    except BaseException:
        attachment.close()
        raise


def _words_of(attachment: Attachment, count: int) -> Words:
    memory = attachment.memory[4 * _HEAD_WORDS : 4 * (_HEAD_WORDS + count)]
    return Words(memory, attachment.address + 4 * _HEAD_WORDS)


def _checked_words(name: str, kind: str, memory: memoryview) -> int:
    found, count = "an array", 0
    if len(memory) >= 4 * _HEAD_WORDS:
        found = bytes(memory[:_KIND_BYTES]).rstrip(b"\0").decode("latin1")
        count = int.from_bytes(memory[4 * _COUNT_AT : 4 * _COUNT_AT + 4], "little")
    if found != kind or 4 * (_HEAD_WORDS + _evenly(count)) > len(memory):
        raise error("ERR_NDSHM_MISMATCH", f"Expected '{name}' to be {kind} but found {json.dumps(found)}")
    return count


def _check_size(name: str, spec: StateSpec, parameters: Sequence[int], count: int, memory: memoryview) -> None:
    """Stores to words look at no bounds: there have to be as many as those who made it had."""
    words, byte_length = spec.size(*parameters)
    if count != words or 4 * (_HEAD_WORDS + _evenly(words)) + byte_length > len(memory):
        raise error("ERR_NDSHM_CONTROL_CORRUPT", f"'{name}' has been overwritten; make it anew")


def _checked_parameters(name: str, spec: StateSpec, memory: memoryview) -> tuple[int, ...]:
    found = memory[4 * _PARAMETERS_AT : 4 * _HEAD_WORDS].cast("i")
    for parameter, value in zip(spec.parameters, found):
        if parameter.given is not None and parameter.given != value:
            raise error(
                "ERR_NDSHM_MISMATCH",
                f"Expected the {spec.kind} '{name}' to have {parameter.name} {parameter.write(parameter.given)} "
                f"but found {parameter.write(value)}",
            )
    return tuple(found[: len(spec.parameters)])
