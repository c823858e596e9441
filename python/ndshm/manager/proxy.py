"""Objects of a manager as Python sees them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ..errors import InvalidArgument, wrong_kind
from ._call import Call, camel

if TYPE_CHECKING:
    from ._session import Session
    from ._values import Reference

_ASYNC = "_async"


class Reach(NamedTuple):
    """How an object of the manager is called."""

    session: Session
    # None = the manager itself.
    reference: Reference | None
    id: str
    type: str

    @property
    def number(self) -> int:
        return 0 if self.reference is None else self.reference.number

    def call(self, method: str, args: tuple, options: dict[str, Any], timeout: float | None) -> Any:
        return Call(self, method, args, options, timeout).result()

    def call_async(
        self, method: str, args: tuple, options: dict[str, Any], timeout: float | None
    ) -> Coroutine[Any, Any, Any]:
        return Call(self, method, args, options, timeout).result_async()


class Proxy:
    """An object of a manager: each of its methods, and each getter as a method without arguments.

    Methods go by Python's way to write them: `stock.set_default('pear', 1)` calls setDefault(); `stock.setDefault` does
    so too. Keyword arguments are the object of options that comes last in JavaScript, in the same way:
    `jobs.put(job, priority=2)`. With `_async` behind its name a method gives an awaitable: `await jobs.get_async()`.
    For a method whose name has underscores in JavaScript: `method(proxy, name)`.

    `timeout=` is in seconds; None = for ever. Where the method waits (acquire, wait, get, put, join of built-in types)
    it is the manager that stops waiting. For all others it is how long the answer is waited for; they may run all the
    same. A task that is cancelled, or Ctrl-C, ends such a wait there too: what it has come to all the same is released,
    or put back at the end of the queue where there is room.

    It can be an argument of calls over the same connection, and arrives as the object itself. The object is given up
    when nobody has the proxy any more. For any number of threads. All methods block.

    Errors: what the method throws: an `Error` where its code begins with ERR_NDSHM_, caused by the `RemoteError` that
    tells where; else that `RemoteError`, with name, message, stack, code. ERR_NDSHM_NOT_EXPOSED; ERR_NDSHM_TIMEOUT;
    ERR_NDSHM_LIMIT for arguments of more than 256 MiB; ERR_NDSHM_MANAGER_LOST if the manager ends meanwhile, and
    ERR_NDSHM_STALE_PROXY afterwards.
    """

    __slots__ = ("__weakref__", "_reach")

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(f"No object of a manager has a method {name!r}")
        is_async = name.endswith(_ASYNC)
        return _bound(reach_of(self), camel(name[: -len(_ASYNC)] if is_async else name), is_async)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._reach.type}>"

    def __reduce__(self) -> NoReturn:
        raise InvalidArgument("A proxy cannot be pickled: connect() in the other process, and find() the object there")


class LockProxy(Proxy):
    """Of a lock, rlock, semaphore or condition: `with` and `async with` hold it, for the connection, not a thread."""

    __slots__ = ()

    def __enter__(self) -> LockProxy:
        self.acquire()
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()

    async def __aenter__(self) -> LockProxy:
        await self.acquire_async()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.release_async()


class FunctionProxy(Proxy):
    """A function of the manager's process: to be called."""

    __slots__ = ()

    def __call__(self, *args: Any, timeout: float | None = None) -> Any:
        return self._reach.call("", args, {}, timeout)


def reach_of(proxy: Proxy) -> Reach:
    return object.__getattribute__(proxy, "_reach")


def proxy_for(reach: Reach) -> Proxy:
    if reach.type in ("lock", "rlock", "semaphore", "condition"):
        return LockProxy(reach)
    return FunctionProxy(reach) if reach.type == "function" else Proxy(reach)


def method(proxy: Proxy, name: str) -> Callable[..., Any]:
    """A method of a manager's object by the very name that it has in JavaScript."""
    if not isinstance(proxy, Proxy):
        raise wrong_kind("a proxy of a manager's object", "method()", proxy)
    return _bound(reach_of(proxy), name, False)


def _bound(reach: Reach, name: str, is_async: bool) -> Callable[..., Any]:
    run = reach.call_async if is_async else reach.call

    def bound(*args: Any, timeout: float | None = None, **options: Any) -> Any:
        return run(name, args, options, timeout)

    bound.__name__ = name
    return bound
