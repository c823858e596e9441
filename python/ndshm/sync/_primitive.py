from __future__ import annotations

from typing import Generic, TypeVar

from .._by_name import pickled
from ._named_state import NamedState

S = TypeVar("S", bound=NamedState)


class Primitive(Generic[S]):
    """What every named primitive is: a name, and this process's attachment to the state behind it."""

    def __init__(self, state: S) -> None:
        self._state = state

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> tuple[object, ...]:
        return pickled(self, ephemeral=True, **self._options())

    def _options(self) -> dict[str, object]:
        """What the constructor is told, besides the name, to open it again."""
        return {}

    @property
    def name(self) -> str:
        return self._state.name

    @property
    def _segment_id(self) -> str | None:
        return self._state.attachment.id

    @property
    def closed(self) -> bool:
        return self._state.closed

    def close(self) -> None:
        """Lets go of it: what this process holds of it is given back as if the process had ended.

        Its waits raise ERR_NDSHM_CLOSED. Others are not affected; the name stays until unlink() (if ephemeral: until
        the last has closed). May be called again.
        """
        self._state.close()

    def unlink(self) -> None:
        """Takes the name away. Whoever has it open keeps it; who opens the name from now on makes another.

        Also after close(). Errors: FileNotFoundError if the name is gone, ERR_NDSHM_STALE_HANDLE if it means another
        segment by now.
        """
        self._state.unlink()
