"""The object store, and the table of arrays by integer handle."""

from __future__ import annotations

from .array_table import ArrayTable
from .draft import Draft
from .object_ref import ObjectRef
from .store import ObjectInfo, Store, StoreInfo

__all__ = ["ArrayTable", "Draft", "ObjectInfo", "ObjectRef", "Store", "StoreInfo"]
