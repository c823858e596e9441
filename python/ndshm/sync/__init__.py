"""Named primitives between processes: the words, and so the state, are those of the Node.js package."""

from __future__ import annotations

from .barrier import Barrier, BarrierTimeout
from .condition import Condition
from .event import Event
from .mutex import Mutex
from .queue import Queue, QueueEmpty, QueueFull, QueueShutDown
from .rw_lock import RWLock
from .semaphore import Semaphore
from .value import Value

__all__ = [
    "Barrier",
    "BarrierTimeout",
    "Condition",
    "Event",
    "Mutex",
    "Queue",
    "QueueEmpty",
    "QueueFull",
    "QueueShutDown",
    "RWLock",
    "Semaphore",
    "Value",
]
