"""What is pickled by its name, as the argument of a process for example: who unpickles it opens the very segment."""

from __future__ import annotations

from typing import Any, Protocol

from .errors import error


class Named(Protocol):
    """An attachment of this process to a segment of that name."""

    @property
    def name(self) -> str: ...

    @property
    def _segment_id(self) -> str | None: ...

    def close(self) -> None: ...


def pickled(opened: Named, **options: object) -> tuple[object, ...]:
    """For `__reduce__`: `options` open it again, or make one that goes with its last peer."""
    return _reopened, (type(opened), opened.name, opened._segment_id, options)


def _reopened(kind: Any, name: str, segment_id: str, options: dict[str, object]) -> Any:
    # If the name is gone another one is made here, which has to go again.
    opened = kind(name, **options)
    if opened._segment_id == segment_id:
        return opened
    opened.close()
    raise error("ERR_NDSHM_STALE_HANDLE", f"The name '{name}' is gone or means another {kind.__name__} by now")
