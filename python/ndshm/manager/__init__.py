"""A client of Node's managers."""

from __future__ import annotations

from .manager import Manager
from .proxy import Proxy, method

__all__ = ["Manager", "Proxy", "method"]
