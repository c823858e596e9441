"""What JavaScript's values are in Python that has nothing of the kind."""

from __future__ import annotations

import dataclasses
import reprlib
from typing import Any

# Of the classes that a JavaScript error may be of.
ERROR_NAMES = frozenset(
    ["Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError"],
)


@dataclasses.dataclass(frozen=True)
class RegExp:
    """A regular expression of JavaScript: it is not compiled, since its syntax is another one than Python's."""

    source: str
    flags: str = ""


class RemoteError(Exception):
    """An Error that was put by another process, as a value; it can be raised.

    `name` is the name of its class in JavaScript, `stack` the text of where it was thrown, `cause` any value, `code`
    what Node calls its kind by, if a manager has told it; None = it has none.
    """

    def __init__(self, name: str, message: str | None = None, stack: str | None = None, cause: Any = None) -> None:
        super().__init__(name, message, stack, cause)
        self.name = name
        self.message = message
        self.stack = stack
        self.cause = cause
        self.code: str | None = None

    @property
    def cause(self) -> Any:
        return self._cause

    @cause.setter
    def cause(self, cause: Any) -> None:
        self._cause = cause
        if isinstance(cause, BaseException):
            self.__cause__ = cause

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        return f"RemoteError({self.name!r}, {self.message!r}, {self.stack!r}, {self.cause!r})"

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name
