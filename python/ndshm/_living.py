"""Looking through what is only referred to weakly."""

from __future__ import annotations

import weakref
from typing import TypeVar

T = TypeVar("T")


def living(registry: weakref.WeakValueDictionary[int, T]) -> list[T]:
    """All that it has. (Iterating over it, or over a WeakSet, fails where another thread adds to it meanwhile.)"""
    return [value for value in (reference() for reference in registry.valuerefs()) if value is not None]
