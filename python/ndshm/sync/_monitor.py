from __future__ import annotations

from collections.abc import Sequence
from typing import Callable, TypeVar, Union

from .._lock import PeerId
from ..errors import Error, Timeout
from ._deadline import Deadline
from ._named_state import NamedState
from ._task_line import TaskLine

T = TypeVar("T")


class Blocked:
    """A step's answer when it cannot go on: until something changes, or one of these peers dies."""

    def __init__(self, by: Sequence[PeerId] = (), *, changed: bool = False) -> None:
        self.by = by
        # The step has stored something all the same, and others have to be told.
        self.changed = changed

    def watched(self) -> Sequence[PeerId]:
        return self.by


Step = Callable[[], Union[T, Blocked]]

# How long what cannot wait waits for the lock itself, which nobody holds for longer than some microseconds. But on a
# busy machine one may lose its processor in the middle; only who was stopped there keeps it for longer than this.
_IMMEDIATE_SECONDS = 1.0
# How long the event loop may be blocked for it.
_BRIEF_SECONDS = 0.01


class Monitor(NamedState):
    """State that is changed in short steps under its segment's exclusive lock, and waited for: Hoare's monitor.

    A step runs again after every change until it is not Blocked; until then it stores nothing, unless it says so, nor
    if it raises an error of ours. Every store that matters is ONE word: whatever process is killed between two of them
    leaves a valid state, and so the abandoned mark of the lock needs no repair here.

    Each thread that waits runs its own step. A task's step always runs in the task's own thread, and only the waiting
    is left to another one: when the task is cancelled, the step is either done or not begun.
    """

    def transact(self, step: Step[T], timeout: float | None = None, give_up: Callable[[], None] | None = None) -> T:
        """Blocks until `step` is not Blocked, and gives its result.

        `give_up` runs under the lock after the time was up or the wait was interrupted. If it was the time, the step
        runs once more before, whose success then counts.
        """
        deadline = Deadline(timeout, self.name)
        self.check()
        try:
            while True:
                entered = self.attachment.enter_write(deadline.seconds())
                if entered is None:
                    raise deadline.error()
                result, seen = self._inside(entered, step)
                if not isinstance(result, Blocked):
                    return result
                self.until(self._change_after(seen, result), deadline, result.watched)
        except BaseException as failure:
            return self._leave(step, give_up, failure)

    async def transact_in_line(self, line: TaskLine, step: Step[T], timeout: float | None = None) -> T:
        """As transact_async(), but the tasks in this line come one after another."""
        deadline = Deadline(timeout, self.name)
        self.check()
        async with line.in_turn(deadline):
            return await self.transact_async(step, deadline.seconds())

    async def transact_async(
        self, step: Step[T], timeout: float | None = None, give_up: Callable[[], None] | None = None
    ) -> T:
        """As transact(), but blocks the event loop no longer than for a step."""
        deadline = Deadline(timeout, self.name)
        self.check()
        try:
            while True:
                entered = self.attachment.enter_write(_BRIEF_SECONDS)
                if entered is None:
                    await self._await_free(deadline)
                    continue
                result, seen = self._inside(entered, step)
                if not isinstance(result, Blocked):
                    return result
                await self.until_async(self._change_after(seen, result), deadline, result.watched)
        except BaseException as failure:
            return self._leave(step, give_up, failure)

    def attempt(self, step: Step[T]) -> T | None:
        """Runs `step` once; None if it is Blocked."""
        self.check()
        result, _ = self._inside(self._enter_at_once(), step)
        return None if isinstance(result, Blocked) else result

    def _enter_at_once(self) -> bool:
        """Whether the data was abandoned."""
        entered = self.attachment.enter_write(_IMMEDIATE_SECONDS)
        if entered is None:
            raise Deadline(_IMMEDIATE_SECONDS, self.name).error()
        return entered

    def _inside(self, abandoned: bool, step: Step[T]) -> tuple[T | Blocked, int]:
        """The step's result; if that is Blocked, also the version left: any other one is a change it has not seen."""
        changed = True  # whatever a signal's handler raises in the middle of the step
        try:
            result = step()
            if not isinstance(result, Blocked):
                return result, 0
            changed = abandoned or result.changed
            inside = self.attachment.version
            return result, inside + 1 if changed else inside - 1
        except Error:
            changed = abandoned
            raise
        finally:
            self.attachment.leave_write(unchanged=not changed)

    def _leave(self, step: Step[T], give_up: Callable[[], None] | None, failure: BaseException) -> T:
        if give_up is not None and not self.closed:
            # Not of one that was interrupted: nobody would know of its success, and do what it takes from there.
            last: Step[T] = step if isinstance(failure, Timeout) else Blocked
            result = self.attempt(_lastly(last, give_up))
            if result is not None:
                return result
        raise failure

    def _change_after(self, seen: int, blocked: Blocked) -> Callable[[], bool | None]:
        return lambda: self._has_changed(seen, blocked) or None

    def _has_changed(self, seen: int, blocked: Blocked) -> bool:
        """Whether to look again: there is a new version, or somebody has died, be it in the middle of a step."""
        version = self.attachment.version
        return version - version % 2 != seen or self.attachment.has_died_inside() or any(map(self.is_dead, blocked.by))

    async def _await_free(self, deadline: Deadline) -> None:
        """Waits in another thread until the lock seems to be had."""

        def look() -> bool | None:
            owner = self.attachment.owner
            return owner is None or self.is_dead(owner) or None

        await self.until_async(look, deadline)


def _lastly(step: Step[T], give_up: Callable[[], None]) -> Step[T]:
    def last() -> T | Blocked:
        result = step()
        if isinstance(result, Blocked):
            give_up()
            return Blocked(changed=True)
        return result

    return last
