from __future__ import annotations

from .._lock import Remaining
from ..errors import Timeout


class Deadline(Remaining):
    """The end of a wait for something that has a name."""

    __slots__ = ("_name",)

    def __init__(self, timeout: float | None, name: str) -> None:
        super().__init__(timeout)
        self._name = name

    def error(self) -> Timeout:
        return Timeout(f"Waiting for '{self._name}' took longer than {self.timeout} s")
