from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._options import check_timeout
from ..errors import InvalidArgument
from ._address import UnixAddress, parse_address
from ._auth import check_auth_key
from ._dial import dial
from ._session import Session
from .proxy import Proxy, Reach

if TYPE_CHECKING:
    import ssl

# Between signs of life of a connection by network, as Node has it.
_HEARTBEAT_SECONDS = 15.0
_ASYNC = "_async"


class Manager:
    """A connection to a manager of Node's: objects of any kind in one process, for use by others. See docs/managers.md.

    Objects are made by the names of their types: `manager.dict({"a": 1})`, `manager.queue(max_items=10)`,
    `manager.Ledger(5)` for a registered class; each with `_async` behind its name gives an awaitable. `Proxy` says how
    objects are called. Of the built-in types: dict, list, namespace, queue, event, lock, rlock, semaphore, condition,
    barrier, value, array, pool. All methods block, and are for any number of threads. What crosses is copied as
    `ndshm.codec` does, but for proxies. A SharedArray too: to share one, pass its name.

    Not in Python: to be a manager; Python functions as arguments, and so change(), run() and wait_for(); iterators as
    results; to find a manager that was started again. A forked child has to connect by itself.

    >>> import ndshm
    >>> from ndshm import Manager
    >>> Manager.connect("/nowhere/manager.sock")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/manager.sock'
    """

    def __init__(self, session: Session, address: str) -> None:
        """Use connect()."""
        if not isinstance(session, Session):
            raise InvalidArgument("Use Manager.connect()")
        self._session = session
        self._root = Reach(session, None, "", "Manager")
        self.address = address

    @staticmethod
    def connect(
        address: str,
        auth_key: str | bytes | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        timeout: float = 10.0,
    ) -> Manager:
        """Connects to a manager: `manager.address` of Node's.

        `auth_key`: the secret that both sides have. `tls`: for TCP, a context with this side's certificate, and the
        authority of the other one's; without it TCP needs an `auth_key`, and TLS-PSK, which Python has from 3.13 on.
        `timeout`: seconds that the other side may take to prove itself.

        Errors: FileNotFoundError, ConnectionRefusedError and the like where there is no manager; ERR_NDSHM_AUTH for
        another key or certificate; ERR_NDSHM_PROTOCOL if it is something else; ERR_NDSHM_TIMEOUT;
        ERR_NDSHM_MANAGER_LOST if it ends the connection; ERR_NDSHM_FOREIGN_OWNER for another user's socket without a
        key; ERR_NDSHM_UNSUPPORTED; ERR_NDSHM_INVALID_ARGUMENT, ERR_NDSHM_OUT_OF_RANGE.
        """
        where = parse_address(address)
        key = None if auth_key is None else check_auth_key(auth_key)
        seconds = check_timeout(timeout)
        if seconds is None:
            raise InvalidArgument("Expected a number of seconds for timeout but received None of type NoneType")
        stream = dial(where, key, tls, seconds)
        heartbeat = None if isinstance(where, UnixAddress) else _HEARTBEAT_SECONDS
        return Manager(Session(stream, heartbeat), address)

    @staticmethod
    async def connect_async(address: str, auth_key: str | bytes | None = None, **options: Any) -> Manager:
        """As connect(), in a thread."""
        connecting = asyncio.get_running_loop().run_in_executor(
            None, lambda: Manager.connect(address, auth_key, **options)
        )
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_close_result)
            raise

    def make(self, type: str, *args: Any, timeout: float | None = None, **options: Any) -> Proxy:
        """Makes an object of a type by its name. It lives as long as anybody has a proxy for it, or another object of
        the manager has it.

        Errors: ERR_NDSHM_NO_OBJECT for an unknown type; what its constructor throws; as all methods here, those that
        `Proxy` lists.
        """
        return self._root.call("make", (type, *args), options, timeout)

    async def make_async(self, type: str, *args: Any, timeout: float | None = None, **options: Any) -> Proxy:
        """As make()."""
        return await self._root.call_async("make", (type, *args), options, timeout)

    def get_or_create(self, name: str, type: str, *args: Any, timeout: float | None = None, **options: Any) -> Proxy:
        """The object of this name, made with these arguments if there is none yet. It stays until remove().

        Errors: ERR_NDSHM_MISMATCH if the name is of another type; as make().
        """
        return self._root.call("getOrCreate", (name, type, *args), options, timeout)

    async def get_or_create_async(
        self, name: str, type: str, *args: Any, timeout: float | None = None, **options: Any
    ) -> Proxy:
        """As get_or_create()."""
        return await self._root.call_async("getOrCreate", (name, type, *args), options, timeout)

    def find(self, name: str, *, timeout: float | None = None) -> Proxy:
        """The object of this name. Errors: ERR_NDSHM_NO_OBJECT."""
        return self._root.call("find", (name,), {}, timeout)

    async def find_async(self, name: str, *, timeout: float | None = None) -> Proxy:
        """As find()."""
        return await self._root.call_async("find", (name,), {}, timeout)

    def remove(self, name: str, *, timeout: float | None = None) -> bool:
        """Takes a name away; the object lives on for those who have it. Whether there was one."""
        return self._root.call("remove", (name,), {}, timeout)

    async def remove_async(self, name: str, *, timeout: float | None = None) -> bool:
        """As remove()."""
        return await self._root.call_async("remove", (name,), {}, timeout)

    def info(self, *, timeout: float | None = None) -> dict[str, Any]:
        """What the manager has: `pid`, `id`, `connections`, `types`; `objects` with `type`, `name`, `references`."""
        return self._root.call("info", (), {}, timeout)

    async def info_async(self, *, timeout: float | None = None) -> dict[str, Any]:
        """As info()."""
        return await self._root.call_async("info", (), {}, timeout)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(f"A manager has no {name!r}")
        is_async = name.endswith(_ASYNC)
        make = self.make_async if is_async else self.make
        kind = name[: -len(_ASYNC)] if is_async else name

        def maker(*args: Any, **options: Any) -> Any:
            return make(kind, *args, **options)

        return maker

    def close(self) -> None:
        """Ends the connection, and with it what this process had of the manager: locks, permits, proxies.

        Calls that wait fail with ERR_NDSHM_CLOSED. Safe to call twice.
        """
        self._session.close()

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Manager:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def _close_result(connecting: asyncio.Future[Manager]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()
