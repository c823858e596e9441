"""What put() gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import error


@dataclass(frozen=True)
class ObjectRef:
    """What put() gives: it can be pickled, and written as JSON, the same in every process on the host and in Node.

    It is not counted: the object lives until somebody deletes it, or the store ends.

    Errors: ERR_NDSHM_INVALID_ARGUMENT.

    >>> ref = ObjectRef("jobs", "00" * 16, object=7, generation=1)
    >>> ObjectRef.from_json(ref.to_json()) == ref
    True
    """

    store: str
    store_id: str
    """The random id of the store: another one of the same name is another store."""
    object: int
    generation: int

    def __post_init__(self) -> None:
        is_text = isinstance(self.store, str) and isinstance(self.store_id, str)
        if not is_text or not _is_index(self.object) or not _is_index(self.generation):
            raise error(
                "ERR_NDSHM_INVALID_ARGUMENT",
                f"Expected an object ref, as put() gives it, but received one of {self.store!r:.60}, "
                f"{self.store_id!r:.60}, {self.object!r:.60}, {self.generation!r:.60}",
            )

    def to_json(self) -> str:
        """As Node's JSON.stringify() writes a ref."""
        return json.dumps(
            {
                "ndshm": 1,
                "store": self.store,
                "storeId": self.store_id,
                "object": self.object,
                "generation": self.generation,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, ref: str | bytes | Mapping[str, Any]) -> ObjectRef:
        """From JSON text, or from the dict that it means. Errors: ERR_NDSHM_INVALID_ARGUMENT."""
        found: object = ref
        if isinstance(ref, (str, bytes)):
            try:
                found = json.loads(ref)
            except ValueError:
                found = None
        if not isinstance(found, Mapping) or found.get("ndshm") != 1 or found.get("ndshm") is True:
            raise error(
                "ERR_NDSHM_INVALID_ARGUMENT",
                f"Expected an object ref, as put() gives it, but received {ref!r:.60} of type {type(ref).__name__}",
            )
        return cls(found.get("store"), found.get("storeId"), found.get("object"), found.get("generation"))  # type: ignore[arg-type]


def _is_index(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def check_ref(ref: object, name: str, store_id: str) -> ObjectRef:
    """Raises unless it is a ref of this store. What it refers to may be gone all the same."""
    found = ref if isinstance(ref, ObjectRef) else ObjectRef.from_json(ref)  # type: ignore[arg-type]
    if found.store_id != store_id:
        raise error(
            "ERR_NDSHM_STALE_HANDLE",
            f"The object belonged to an earlier store '{name}', which has ended"
            if found.store == name
            else f"The object belongs to the store '{found.store}', and this is '{name}'",
        )
    return found
