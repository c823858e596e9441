"""Holding a lock for the length of a `with` or `async with` block."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Callable, TypeVar

from . import errors
from ._options import check_timeout, one_of
from ._stop import Stop, as_task, in_thread

if TYPE_CHECKING:
    from ._attachment import Attachment

H = TypeVar("H", bound="_Hold")


class _Hold:
    """Enters anew with each `with`."""

    __slots__ = ("_attachment", "_enter", "_leave", "_on_abandoned", "_timeout", "abandoned")

    _choices: tuple[str, str]
    _what: str
    _remedy: str
    _enter: Callable[..., bool | None]
    _leave: Callable[..., None]

    def __init__(self, attachment: Attachment, on_abandoned: str = "error", timeout: float | None = None) -> None:
        self._attachment = attachment
        self._on_abandoned = one_of(on_abandoned, self._choices, "on_abandoned")
        self._timeout = check_timeout(timeout)
        self.abandoned = False
        """Whether an earlier writer has died inside: the data may be half-written."""

    def _begin(self, abandoned: bool | None) -> None:
        """What an entry means to the caller; if that is an error, the lock is let go again."""
        if abandoned is None:
            raise self._attachment.timeout_error(self._what, self._timeout)
        if abandoned and self._on_abandoned == "error":
            self._undo()
            raise errors.Abandoned(
                f"A process died while it was writing {self._attachment.who}, which may be half-written: {self._remedy}"
            )
        self.abandoned = abandoned

    def _undo(self, _: object = None) -> None:
        raise NotImplementedError

    def __enter__(self: H) -> H:
        abandoned = self._enter(self._timeout)
        if abandoned is not self.abandoned:
            self._begin(abandoned)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        raise NotImplementedError

    async def __aenter__(self: H) -> H:
        entered = as_task(lambda: self._enter(0))
        if entered is None and self._timeout != 0:
            stop = Stop()
            entered = await in_thread(lambda: self._enter(self._timeout, stop), stop, self._cancelled)
        self._begin(entered)
        return self

    def _cancelled(self, entered: bool | None) -> None:
        if entered is not None:
            self._undo()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        as_task(lambda: self.__exit__(kind, error, at))


class WriteHold(_Hold):
    """Alone inside."""

    __slots__ = ()

    _choices = ("error", "repair")
    _what = "Writing"
    _remedy = "pass on_abandoned='repair' and write it anew"

    def __init__(self, attachment: Attachment, on_abandoned: str = "error", timeout: float | None = None) -> None:
        super().__init__(attachment, on_abandoned, timeout)
        self._enter, self._leave = attachment.enter_write, attachment.leave_write

    def _undo(self, _: object = None) -> None:
        self._leave(True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._leave()
        elif not self._attachment.closed:  # else what was held went with it
            # Who raises has changed the data all the same, as far as anybody can know; but has not repaired it.
            self._leave(self.abandoned)


class TriedWrite(WriteHold):
    """Has been entered when it was made: by tried()."""

    __slots__ = ()

    def __enter__(self) -> TriedWrite:
        return self


class ReadHold(_Hold):
    """Inside together with other readers."""

    __slots__ = ()

    _choices = ("error", "ignore")
    _what = "Reading"
    _remedy = "wait until it is repaired, or pass on_abandoned='ignore' to read it as it is"

    def __init__(self, attachment: Attachment, on_abandoned: str = "error", timeout: float | None = None) -> None:
        super().__init__(attachment, on_abandoned, timeout)
        self._enter, self._leave = attachment.enter_read, attachment.leave_read

    def _undo(self, _: object = None) -> None:
        self._leave()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None or not self._attachment.closed:
            self._leave()


class TriedRead(ReadHold):
    """As TriedWrite."""

    __slots__ = ()

    def __enter__(self) -> TriedRead:
        return self


def tried(hold: H) -> H | None:
    """Enters without waiting; None = not to be had now."""
    entered = hold._enter(0)
    if entered is None:
        return None
    hold._begin(entered)
    return hold
