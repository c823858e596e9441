from __future__ import annotations

import inspect
from typing import Any, Callable, NamedTuple, TypeVar

from .._options import integer_in
from ..errors import BrokenBarrier, Timeout, wrong_kind
from ._ledger import Ledger
from ._monitor import Blocked, Monitor
from ._named_state import Parameter, StateSpec
from ._primitive import Primitive

T = TypeVar("T")

# One word says which round it is and how that stands; the ledger of who has arrived, by rounds, begins behind it.
_STATE = 0
_FILLING = 0
_ACTING = 1  # all are here, and the last one runs its action
_BROKEN = 2
_RESETTING = 3  # broken for those inside; filling again once all of them have left
_ROUNDS = 2**30

# What a step gives instead of an index.
_WAS_BROKEN = -1


class BarrierTimeout(Timeout, BrokenBarrier):
    """The time to wait at the barrier was up, which has broken it: ERR_NDSHM_TIMEOUT."""

    code = Timeout.code


class _Arrival(NamedTuple):
    step: Callable[[], int | Blocked]
    give_up: Callable[[], None]


class Barrier(Primitive[Monitor]):
    """A point at which a number of parties wait for each other, round after round: threading.Barrier, by name.

    Parties are threads and tasks of any processes. If one that has arrived gives up or dies, nobody waits for it in
    vain: the barrier is broken. A forked child has not arrived, wherever its parent has.

    Args:
        name: What all processes call it.
        parties: How many have to arrive. Everybody who opens the name says the same.
        action: Run by the last to arrive, in its process, before anybody goes on. If it fails, the barrier is broken.
            wait_async() awaits what it gives, if that can be awaited.
        timeout: Default of wait(), in seconds; None = for ever.
        ephemeral: It belongs to its users: gone with the last one that closes it. Default False: until unlink().
        allow_foreign_owner: Open one that belongs to another user. Default False.

    Opens it, or makes it; does not block. Errors: ERR_NDSHM_MISMATCH if it was made for another number of parties or
    the name means something else, ERR_NDSHM_OUT_OF_RANGE for less than one, and those of open(). Errors of all methods:
    ERR_NDSHM_CLOSED.

    Example:
        >>> import ndshm, threading
        >>> start = ndshm.Barrier("start", parties=2, ephemeral=True)
        >>> other = threading.Thread(target=start.wait)  # mostly another process does that
        >>> other.start()
        >>> start.wait(timeout=1) in (0, 1)
        True
        >>> other.join()
        >>> start.close()
    """

    def __init__(
        self,
        name: str,
        parties: int,
        action: Callable[[], Any] | None = None,
        timeout: float | None = None,
        *,
        ephemeral: bool = False,
        allow_foreign_owner: bool = False,
    ) -> None:
        integer_in(parties, 1, 2**31 - 1, "parties")
        if action is not None and not callable(action):
            raise wrong_kind("a function", "action", action)
        parameters = (Parameter("parties", parties, parties),)
        spec = StateSpec("Barrier", lambda *_: (1 + Ledger.WORDS, 0), parameters)
        super().__init__(Monitor(name, spec, ephemeral=ephemeral, allow_foreign_owner=allow_foreign_owner))
        self._parties = parties
        self._action = action
        self._timeout = timeout
        self._words = self._state.words
        self._arrived = Ledger(self._state, 1)

    def _options(self) -> dict[str, object]:
        return {"parties": self._parties, "action": self._action, "timeout": self._timeout}

    @property
    def parties(self) -> int:
        """How many have to arrive."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many have arrived in this round and wait; 0 if the barrier is broken."""
        self._state.check()
        return self._arrived.living(self._round) if self._status == _FILLING else 0

    @property
    def broken(self) -> bool:
        """Whether it is broken: wait() fails until reset()."""
        self._state.check()
        return self._status == _BROKEN

    def wait(self, timeout: float | None = None) -> int:
        """Arrives, and blocks until all parties have.

        Gives the index of the arrival, from 0 to parties - 1, each once. After a reset it first waits until all who
        were inside have left. Errors: BrokenBarrier (ERR_NDSHM_BROKEN_BARRIER, a threading.BrokenBarrierError) if the
        barrier is broken, or gets broken or reset meanwhile; BarrierTimeout (ERR_NDSHM_TIMEOUT, a BrokenBarrier too)
        after `timeout` seconds (default: the constructor's), which breaks it for the others; what the action raises.
        """
        arrival = self._arrival()
        try:
            index = self._state.transact(arrival.step, self._time(timeout), arrival.give_up)
        except Timeout as late:
            raise BarrierTimeout(str(late)) from None
        self._unless_broken(index)
        if self._action is not None and index == self._parties - 1:
            try:
                result = self._action()
                if inspect.isawaitable(result):
                    if inspect.iscoroutine(result):
                        result.close()
                    raise wrong_kind("nothing to await", "the action's result in wait()", result)
            except BaseException:
                self._action_failed()
                raise
            self._action_done()
        return index

    async def wait_async(self, timeout: float | None = None) -> int:
        """wait(), but without blocking the event loop. Cancelled, it breaks the barrier for the others."""
        arrival = self._arrival()
        try:
            index = await self._state.transact_async(arrival.step, self._time(timeout), arrival.give_up)
        except Timeout as late:
            raise BarrierTimeout(str(late)) from None
        self._unless_broken(index)
        if self._action is not None and index == self._parties - 1:
            try:
                result = self._action()
                if inspect.isawaitable(result):
                    await result
            except BaseException:
                self._action_failed()
                raise
            self._action_done()
        return index

    def abort(self) -> None:
        """Breaks the barrier: who waits, and who comes before reset(), fails with BrokenBarrier."""

        def break_it() -> bool:
            self._become(_BROKEN)
            return True

        self._state.attempt(break_it)

    def reset(self) -> None:
        """Makes the barrier empty and whole again. Who waits now fails with BrokenBarrier."""

        def empty_it() -> bool:
            self._become(_RESETTING)
            self._settle()
            return True

        self._state.attempt(empty_it)

    @property
    def _status(self) -> int:
        return self._words[_STATE] & 3

    @property
    def _round(self) -> int:
        return self._words[_STATE] >> 2

    def _become(self, status: int) -> None:
        self._words.store(_STATE, self._round << 2 | status)

    def _let_all_go(self) -> None:
        """Begins another round, which makes everybody's entry one of an earlier round."""
        self._words.store(_STATE, (self._round + 1) % _ROUNDS << 2 | _FILLING)

    def _time(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else timeout

    def _arrival(self) -> _Arrival:
        """What one wait() does under the lock; the result is its index."""
        arrived = self._arrived
        index: int | None = None
        own_round = 0

        def step() -> int | Blocked:
            self._settle()
            return arrive() if index is None else go_on()

        def arrive() -> int | Blocked:
            nonlocal index, own_round
            now = self._round
            if self._status == _BROKEN:
                return _WAS_BROKEN
            if self._status != _FILLING:
                return Blocked(arrived.others(now))
            place = arrived.sum(now)
            last = place + 1 >= self._parties
            if last and self._action is None:
                self._let_all_go()
                return place
            index, own_round = place, now
            arrived.set_mine(arrived.mine(now) + 1, now)
            if not last:
                return Blocked(arrived.others(now), changed=True)
            # Who dies before this store has arrived and died: the others break the barrier.
            self._become(_ACTING)
            return index

        def go_on() -> int | Blocked:
            # A round ends in no other way than by letting all go: who was reset out of it has to leave before the next.
            if self._round != own_round:
                assert index is not None
                return index
            if self._status in (_FILLING, _ACTING):
                return Blocked(arrived.others(own_round))
            self._leave()
            return _WAS_BROKEN

        def give_up() -> None:
            if index is None or self._round != own_round:
                return
            if self._status != _RESETTING:
                self._become(_BROKEN)
            self._leave()

        return _Arrival(step, give_up)

    def _leave(self) -> None:
        """Takes one arrival of this process out of the present round."""
        now = self._round
        self._arrived.set_mine(self._arrived.mine(now) - 1, now)
        self._settle()

    def _settle(self) -> None:
        """What has to be done by whoever comes next: breaks the barrier if the dead are inside, ends a reset."""
        now = self._round
        status = self._status
        if status in (_FILLING, _ACTING):
            if any(map(self._state.is_dead, self._arrived.others(now))):
                self._become(_BROKEN)
        elif status == _RESETTING:
            self._arrived.bury(now)
            if self._arrived.sum(now) == 0:
                self._become(_FILLING)

    def _action_done(self) -> None:
        """Lets everybody go."""

        def conclude() -> int:
            self._settle()
            if self._status == _ACTING:
                self._let_all_go()
                return 0
            self._leave()
            return _WAS_BROKEN

        self._unless_broken(self._state.attempt(conclude))

    def _action_failed(self) -> None:
        """Breaks the barrier."""
        if self.closed:
            return  # which has broken it

        def conclude() -> bool:
            self._settle()
            if self._status == _ACTING:
                self._become(_BROKEN)
            self._leave()
            return True

        self._state.attempt(conclude)

    def _unless_broken(self, fate: int | None) -> None:
        if fate == _WAS_BROKEN:
            raise BrokenBarrier(
                f"The barrier '{self.name}' is broken: one who had arrived gave up, died or failed, or it was aborted "
                "or reset"
            )
