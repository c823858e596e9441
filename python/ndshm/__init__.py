"""numpy arrays in named POSIX shared memory, shared between processes on one host, Node's too, without copying.

Names, modes and bytes are those of the Node package ndshm; docs/python.md tells one by the other.
"""

from __future__ import annotations

import builtins
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _forks as _forks  # what it is imported for is that forked children are peers of their own
from ._holds import ReadHold, WriteHold
from .array import SharedArray, anonymous, create, from_array, open, open_raw
from .directory import PeerInfo, SegmentInfo, gc, list, stat, unlink
from .errors import (
    Abandoned,
    BrokenBarrier,
    Closed,
    Deadlock,
    Error,
    Full,
    InvalidArgument,
    InvalidValue,
    NotOwned,
    Timeout,
)
from .files import load, save
from .handle import attach
from .watch import Watch, watch

if TYPE_CHECKING:
    from .codec import RegExp, RemoteError
    from .manager import Manager
    from .store import ArrayTable, Draft, ObjectInfo, ObjectRef, Store, StoreInfo
    from .sync import (
        Barrier,
        BarrierTimeout,
        Condition,
        Event,
        Mutex,
        Queue,
        QueueEmpty,
        QueueFull,
        QueueShutDown,
        RWLock,
        Semaphore,
        Value,
    )
    from .tables import open_table, put_table
    from .tensors import SharedTensors, open_tensors, put_tensors

# Imported when first asked for: most programs need few of them, and tables and tensors need packages of their own.
_later = {
    ".codec": ("RegExp", "RemoteError"),
    ".manager": ("Manager",),
    ".store": ("ArrayTable", "Draft", "ObjectInfo", "ObjectRef", "Store", "StoreInfo"),
    ".sync": (
        *(
            "Barrier",
            "BarrierTimeout",
            "Condition",
            "Event",
            "Mutex",
            "Queue",
            "QueueEmpty",
            "QueueFull",
        ),
        *("QueueShutDown", "RWLock", "Semaphore", "Value"),
    ),
    ".tables": ("open_table", "put_table"),
    ".tensors": ("SharedTensors", "open_tensors", "put_tensors"),
}
_modules = {name: module for module, names in _later.items() for name in names}

__all__ = [
    "Abandoned",
    "ArrayTable",
    "Barrier",
    "BarrierTimeout",
    "BrokenBarrier",
    "Closed",
    "Condition",
    "Deadlock",
    "Draft",
    "Error",
    "Event",
    "Full",
    "InvalidArgument",
    "InvalidValue",
    "Manager",
    "Mutex",
    "NotOwned",
    "ObjectInfo",
    "ObjectRef",
    "PeerInfo",
    "Queue",
    "QueueEmpty",
    "QueueFull",
    "QueueShutDown",
    "RWLock",
    "ReadHold",
    "RegExp",
    "RemoteError",
    "SegmentInfo",
    "Semaphore",
    "SharedArray",
    "SharedTensors",
    "Store",
    "StoreInfo",
    "Timeout",
    "Value",
    "Watch",
    "WriteHold",
    "anonymous",
    "attach",
    "create",
    "from_array",
    "gc",
    "list",
    "load",
    "open",
    "open_raw",
    "open_table",
    "open_tensors",
    "put_table",
    "put_tensors",
    "save",
    "stat",
    "unlink",
    "watch",
]


def __getattr__(name: str) -> Any:
    module = _modules.get(name)
    if module is None:
        raise AttributeError(f"module 'ndshm' has no attribute {name!r}")
    value = getattr(import_module(module, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> builtins.list[str]:
    return sorted({*globals(), *__all__})
