"""What can go wrong. Codes and their remedies are those of docs/errors.md."""

from __future__ import annotations

import errno as errnos
import os
import queue
import threading
from typing import TYPE_CHECKING, NoReturn

from ._layout import (
    DIRECTORY,
    STATUS_BUSY_NAME,
    STATUS_CLOSED,
    STATUS_CONTROL_CORRUPT,
    STATUS_CONTROL_VERSION,
    STATUS_PEERS_FULL,
    STATUS_REPLACED,
    STATUS_SYSTEM,
)

if TYPE_CHECKING:
    from ._library import Failure


class Error(Exception):
    """What ndshm raises, system calls that fail excepted: these are ``OSError`` with the error's name as ``code``."""

    code: str
    """As ``'ERR_NDSHM_CLOSED'``: docs/errors.md says what each means and what to do."""


class InvalidArgument(Error, TypeError):
    """An argument is of the wrong kind."""

    code = "ERR_NDSHM_INVALID_ARGUMENT"


class InvalidValue(Error, ValueError):
    """An argument is of the right kind, and does not fit."""

    code = "ERR_NDSHM_OUT_OF_RANGE"


class Closed(Error, ValueError):
    """The array has been closed."""

    code = "ERR_NDSHM_CLOSED"


class Timeout(Error, TimeoutError):
    """What was waited for did not happen in time. Nothing is held."""

    code = "ERR_NDSHM_TIMEOUT"


class Abandoned(Error):
    """A process died while it was writing: the data may be half-written."""

    code = "ERR_NDSHM_ABANDONED"


class Deadlock(Error, RuntimeError):
    """The caller holds the lock already, and would wait for itself for ever."""

    code = "ERR_NDSHM_DEADLOCK"


class NotOwned(Error, RuntimeError):
    """Something was released that the caller does not hold."""

    code = "ERR_NDSHM_NOT_OWNED"


class BrokenBarrier(Error, threading.BrokenBarrierError):
    """A party of the barrier timed out, died, or called abort()."""

    code = "ERR_NDSHM_BROKEN_BARRIER"


class Full(Error, queue.Full):
    """A table or queue of fixed size has no room."""

    code = "ERR_NDSHM_FULL"


_classes = {
    each.code: each
    for each in (InvalidArgument, InvalidValue, Closed, Timeout, Abandoned, Deadlock, NotOwned, BrokenBarrier, Full)
}
_classes["ERR_NDSHM_DTYPE"] = InvalidArgument
for _code in ("INVALID_NAME", "SHAPE", "ALIGNMENT", "HEADER", "FORMAT", "READ_ONLY", "NOT_CONTIGUOUS", "ANONYMOUS"):
    _classes[f"ERR_NDSHM_{_code}"] = InvalidValue


def error(code: str, message: str) -> Error:
    """An error of the class that this code has."""
    made = _classes.get(code, Error)(message)
    made.code = code
    return made


def wrong_kind(expected: str, what: str, received: object) -> Error:
    """'Expected X for Y but received Z of type T', the one form for arguments of the wrong kind."""
    shown = repr(received)
    if len(shown) > 60:
        shown = f"{shown[:60]}…"
    return InvalidArgument(f"Expected {expected} for {what} but received {shown} of type {type(received).__name__}")


def closed_error(who: str) -> Error:
    return Closed(f"The array {who} has been closed; open it again")


def busy_error(name: str | None) -> Error:
    return error("ERR_NDSHM_BUSY", f"The name '{name}' keeps being replaced or removed; try again")


def system_error(errno: int, name: str | None, call: str, wanted_bytes: int | None = None) -> OSError:
    """What a failed system call is to the caller: FileNotFoundError and the like, with its name as ``code``."""
    code = errnos.errorcode.get(errno, f"E{errno}")
    message = f"{_reason(code, wanted_bytes)}, {call}"
    made = OSError(errno, message) if name is None else OSError(errno, message, f"{DIRECTORY}{name}")
    made.code = code  # type: ignore[attr-defined]
    return made


def failure_error(failure: Failure, name: str | None, wanted_bytes: int | None = None) -> Exception:
    """What the core reported, as the exception to raise."""
    who = "the anonymous segment" if name is None else f"'{name}'"
    status = failure.status
    if status == STATUS_SYSTEM:
        return system_error(failure.errnum, name, failure.call.decode(), wanted_bytes)
    if status == STATUS_CONTROL_VERSION:
        versions = f"layout version {failure.found}; this ndshm reads version {failure.expected}"
        return error("ERR_NDSHM_CONTROL_VERSION", f"{who} has a control block of {versions}")
    if status == STATUS_CONTROL_CORRUPT:
        numbers = f"found {failure.found} where {failure.expected} was expected"
        return error("ERR_NDSHM_CONTROL_CORRUPT", f"The control block of {who} is corrupt: {numbers}")
    if status == STATUS_PEERS_FULL:
        held = f"All {failure.expected} peer slots of {who} are in use by living attachments"
        return error("ERR_NDSHM_PEERS_FULL", f"{held}; close some (stat() lists them)")
    if status in (STATUS_REPLACED, STATUS_BUSY_NAME):
        return busy_error(name)
    if status == STATUS_CLOSED:
        return closed_error(who)
    raise AssertionError(f"unknown status {status} of the core")


def raise_failure(failure: Failure, name: str | None, wanted_bytes: int | None = None) -> NoReturn:
    """Raises what the core reported."""
    raise failure_error(failure, name, wanted_bytes)


def bytes_in_words(count: float) -> str:
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    power = 0
    while count >= 1024 and power < len(units) - 1:
        count /= 1024
        power += 1
    return f"{count:.4g} {units[power]}"


_reasons = {
    "ENOENT": "no such segment",
    "EEXIST": "a segment of this name exists already (if_exists='open' or 'replace' allows that)",
    "EACCES": "permission denied",
    "EPERM": "permission denied",
    "ELOOP": "the name is a symbolic link, which is not followed",
    "ENODEV": "the name is not a regular file",
    "EISDIR": "the name is not a regular file",
    "ENXIO": "the name is not a regular file",
    "EMFILE": "this process has too many open descriptors; every open array holds one: close some or raise `ulimit -n`",
    "ENFILE": "the system has too many open files",
    "ENOMEM": "not enough memory or address space to map the segment",
}


def _reason(code: str, wanted_bytes: int | None) -> str:
    if code != "ENOSPC":
        return _reasons.get(code, "the system call failed")
    wanted = "" if wanted_bytes is None else f": {bytes_in_words(wanted_bytes)} wanted"
    free = ""
    try:
        room = os.statvfs(DIRECTORY)
        available, size = (bytes_in_words(count * room.f_frsize) for count in (room.f_bavail, room.f_blocks))
        free = f", {available} free of {size}"
    except OSError:
        pass  # The figures are a courtesy; without them the message still says what to do.
    return (
        f"not enough room in {DIRECTORY}{wanted}{free}; unlink segments that nobody needs (list() shows them) or make "
        "it larger (Docker: --shm-size, Kubernetes: an emptyDir of medium Memory)"
    )
