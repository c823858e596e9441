"""Reading without the lock, by the version that writers count up, and waiting for it to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, TypeVar

from . import errors
from ._library import fast
from ._lock import PeerId, Remaining
from ._options import integer_in
from ._stop import Stop

if TYPE_CHECKING:
    from ._attachment import Attachment

T = TypeVar("T")


def completed(attachment: Attachment) -> int:
    """The version of the last write that was completed."""
    version = attachment.version
    return version - version % 2


def changed(attachment: Attachment, since: int | None, timeout: float | None, stop: Stop | None = None) -> int:
    """Blocks until a write was completed after version `since`."""
    after = completed(attachment) if since is None else integer_in(since, 0, 2**64 - 1, "since")

    def look() -> int | None:
        version = completed(attachment)
        return version if version > after else None

    return attachment.wait_until(look, timeout, stop=stop, what="Waiting for a change of")


def snapshot(attachment: Attachment, fn: Callable[[], T], timeout: float | None, stop: Stop | None = None) -> T:
    """What `fn` returns, from a run in which no write began. Blocks while a writer is inside."""
    remaining = Remaining(timeout)

    def even() -> int | None:
        version = attachment.version
        if version % 2 == 0:
            return version
        if not attachment.has_died_inside():
            return None
        raise errors.Abandoned(
            f"A process died while it was writing {attachment.who}, which may be half-written, and nobody has "
            "repaired it yet"
        )

    # A writer that dies says nothing.
    def owner() -> list[PeerId]:
        found = attachment.owner
        return [] if found is None else [found]

    while True:
        before = attachment.wait_until(even, remaining.seconds(), owner, stop, "A snapshot of")
        outcome = _consistent(attachment, before, fn)
        if outcome is not None:
            return outcome[0]
        # Writers are too fast for it now.
        if remaining.seconds() == 0 or (stop is not None and stop.stopped):
            raise attachment.timeout_error("A snapshot of", timeout)


def _consistent(attachment: Attachment, before: int, fn: Callable[[], T]) -> tuple[T] | None:
    """What it returns, if no write began while it ran. What it raises may come of half-written data."""
    result: tuple[T] | None = None
    raised: Exception | None = None
    fast.ndshm_fence()
    try:
        result = (fn(),)
    except Exception as error:
        raised = error
    # L6: the function's loads come before this look at the version.
    fast.ndshm_fence()
    if attachment.version != before:
        return None
    if raised is not None:
        raise raised
    return result
