"""The core, libndshm.so, by its C ABI (native/c_abi/ndshm.h). Loaded by the first call that needs it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from . import errors
from ._layout import ABI_VERSION, CONTROL_INFO_BYTES, ERROR_BYTES, FACTS_BYTES, FOREVER, PEER_INFO_BYTES

__all__ = ["FOREVER", "Control", "Facts", "Failure", "Peer", "address_of", "core", "fast", "lib"]


class Failure(ctypes.Structure):
    """ndshm_error: filled by whatever fails."""

    _fields_ = [
        ("status", c_uint32),
        ("errnum", c_int32),
        ("found", c_uint64),
        ("expected", c_uint64),
        ("call", c_char_p),
    ]


class Facts(ctypes.Structure):
    """ndshm_facts: what a file is."""

    _fields_ = [
        ("size", c_uint64),
        ("allocated_bytes", c_uint64),
        ("links", c_uint64),
        ("inode", c_uint64),
        ("device", c_uint64),
        ("modified_at_ns", c_uint64),
        ("owner", c_uint32),
        ("permissions", c_uint32),
    ]


class Control(ctypes.Structure):
    """ndshm_control: what a control block says."""

    _fields_ = [
        ("segment_id", c_uint8 * 16),
        ("member_of", c_uint8 * 16),
        ("created_at_ns", c_uint64),
        ("flags", c_uint32),
        ("is_member", c_uint32),
    ]


class Peer(ctypes.Structure):
    """ndshm_peer: one living attachment."""

    _fields_ = [
        ("pid", c_uint64),
        ("attached_at_ns", c_uint64),
        ("slot", c_uint32),
        ("mode", c_uint32),
        ("tid", c_uint32),
        ("reserved", c_uint32),
    ]


# Handles are passed as numbers, which None is not: a call with what has been closed is an ArgumentError, not a crash.
_handle = c_size_t
_failure = POINTER(Failure)

# The result and the arguments of each function, in the order of ndshm.h.
_prototypes: dict[str, tuple[Any, list[Any]]] = {
    "abi_version": (c_uint32, []),
    "segment_new": (c_void_p, []),
    "segment_free": (None, [_handle]),
    "segment_allocate": (
        c_int32,
        [_handle, c_char_p, c_uint64, c_uint32, c_void_p, c_int32, c_int32, c_char_p, _failure],
    ),
    "segment_publish": (c_int32, [_handle, c_char_p, c_int32, _failure]),
    "segment_open": (c_int32, [_handle, c_char_p, c_int32, _failure]),
    "segment_open_descriptor": (c_int32, [_handle, c_int32, c_int32, _failure]),
    "segment_facts": (None, [_handle, POINTER(Facts)]),
    "segment_read": (c_int64, [_handle, c_void_p, c_uint64, c_uint64, _failure]),
    "segment_control": (c_int32, [_handle, c_uint64, c_uint64, POINTER(Control), _failure]),
    "segment_peers": (c_int32, [_handle, c_uint64, c_uint64, POINTER(Peer), _failure]),
    "segment_attach": (c_int32, [_handle, c_uint32, c_uint64, c_uint64, c_int32, _failure]),
    "segment_data": (c_void_p, [_handle]),
    "segment_descriptor": (c_int32, [_handle]),
    "segment_ephemeral": (c_int32, [_handle]),
    "segment_faulted": (c_int32, [_handle]),
    "segment_unlink": (c_int32, [_handle, _failure]),
    "segment_close": (None, [_handle]),
    "unlink": (c_int32, [c_char_p, _failure]),
    "reap": (c_int32, [c_char_p, _failure]),
    "faults": (c_void_p, []),
    "lock_open": (c_int32, [_handle, POINTER(c_void_p), _failure]),
    "lock_close": (None, [_handle]),
    "rejoin": (c_int32, [_handle, c_void_p, _failure]),
    "lock_slot": (c_uint32, [_handle]),
    "lock_generation": (c_uint32, [_handle, c_uint32]),
    "lock_enter_write": (c_int32, [_handle, c_uint64, c_void_p, c_void_p]),
    "lock_leave_write": (c_int32, [_handle, c_int32, c_void_p]),
    "lock_enter_read": (c_int32, [_handle, c_uint64, c_void_p, c_void_p]),
    "lock_leave_read": (None, [_handle]),
    "lock_version": (c_uint64, [_handle]),
    "lock_owner": (c_int32, [_handle]),
    "lock_abandoned": (c_int32, [_handle, _failure]),
    "lock_is_dead": (c_int32, [_handle, c_uint32, c_uint32, _failure]),
    "lock_arm": (c_uint32, [_handle]),
    "lock_await_change": (c_int32, [_handle, c_uint32, c_void_p, c_uint32, c_uint64, c_void_p, _failure]),
    "lock_notify": (None, [_handle]),
    "lock_disturb": (None, [_handle]),
    "atomic_load": (c_uint64, [_handle, c_uint32]),
    "atomic_store": (None, [_handle, c_uint32, c_uint64]),
    "atomic_exchange": (c_uint64, [_handle, c_uint32, c_uint64]),
    "atomic_add": (c_uint64, [_handle, c_uint32, c_uint64]),
    "atomic_and": (c_uint64, [_handle, c_uint32, c_uint64]),
    "atomic_or": (c_uint64, [_handle, c_uint32, c_uint64]),
    "atomic_xor": (c_uint64, [_handle, c_uint32, c_uint64]),
    "atomic_compare_exchange": (c_uint64, [_handle, c_uint32, c_uint64, c_uint64]),
    "fence": (None, []),
    "reservoir_new": (c_void_p, [_handle, c_uint64, c_uint64]),
    "reservoir_free": (None, [_handle]),
    "reservoir_fill": (c_int32, [_handle, c_uint64, c_uint64, c_void_p, c_uint64, _failure]),
    "reservoir_write": (c_int32, [_handle, c_uint64, c_void_p, c_uint64, _failure]),
    "reservoir_punch": (c_int32, [_handle, c_uint64, c_uint64, _failure]),
    "reservoir_is_leased": (c_int32, [_handle, c_uint64, c_uint64, _failure]),
    "reservoir_faulted": (c_int32, [_handle]),
    "reservoir_map": (c_void_p, [_handle, c_uint64, c_uint64, c_int32, c_int32, _failure]),
    "pages_data": (c_void_p, [_handle]),
    "pages_faulted": (c_int32, [_handle]),
    "pages_seal": (c_int32, [_handle, _failure]),
    "pages_free": (None, [_handle]),
}


class _Functions:
    """The functions of the library as attributes, ``ndshm_…``, which are there once one of them has been asked for."""

    def __getattr__(self, name: str) -> Any:
        # Only while the attribute does not exist.
        if not name.startswith("ndshm_") or name[6:] not in _prototypes:
            raise AttributeError(name)
        core()
        return self.__dict__[name]


lib: Any = _Functions()
"""Calls that release the GIL: for what may block."""
fast: Any = _Functions()
"""Calls that keep the GIL: for what returns at once. No other thread of Python runs meanwhile."""


def address_of(memory: memoryview) -> int:
    """Where it lies, read-only memory too."""
    return np.frombuffer(memory, np.uint8).ctypes.data


_libraries: list[ctypes.PyDLL] = []


def untyped(name: str) -> Any:
    """As an attribute of `fast`, but takes arguments that are objects of ctypes already, and an int for a result: a
    call costs a third less, since nothing is converted."""
    core()
    return _libraries[0][name]


def fault_word() -> ctypes.c_uint32:
    """Its value grows with every bus error that this process survives: a look at it costs less than a call."""
    return ctypes.c_uint32.from_address(fast.ndshm_faults())


_loading = threading.Lock()
_loaded = False


def _renew() -> None:
    """In a forked child, whose parent's other threads may have been in there."""
    global _loading
    _loading = threading.Lock()


os.register_at_fork(after_in_child=_renew)


def core() -> None:
    """Loads the library, if that has not been done. Errors: ERR_NDSHM_NO_BINARY, ERR_NDSHM_UNSUPPORTED."""
    global _loaded
    if _loaded:
        return
    with _loading:
        if not _loaded:
            _load()
            _loaded = True


def _load() -> None:
    if sys.platform != "linux" or _architecture() is None:
        raise errors.error(
            "ERR_NDSHM_UNSUPPORTED",
            f"ndshm runs on linux-x64 and linux-arm64; this is {sys.platform}-{platform.machine()}",
        )
    tried = []
    for path in _candidates():
        try:
            _bind(path)
            return
        except OSError as failure:
            tried.append(f"  {path}: {failure if path.exists() else 'there is no such file'}")
    raise errors.error(
        "ERR_NDSHM_NO_BINARY",
        f"No compiled core of ndshm loads on linux-{_architecture()}. Tried:\n" + "\n".join(tried) + "\n"
        "Install a wheel of ndshm or the npm package `ndshm`, or point NDSHM_LIBRARY to a libndshm.so. Without it, "
        "numpy alone opens any array: numpy.load('/dev/shm/NAME', mmap_mode='r+').",
    )


def _architecture() -> str | None:
    return {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine())


def _candidates() -> Iterator[Path]:
    chosen = os.environ.get("NDSHM_LIBRARY")
    if chosen:
        yield Path(chosen)
        return
    here = Path(__file__).resolve().parent
    yield here / "libndshm.so"
    yield from _built(here.parent.parent)
    # From where Python itself takes code; the working directory may be anybody's.
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    for start in (here, *([Path(main).resolve().parent] if main else [])):
        for folder in (start, *start.parents):
            package = folder / "node_modules" / "ndshm"
            if package.is_dir():
                yield from _built(package)


def _built(root: Path) -> Iterator[Path]:
    """Where the npm package, or a checkout of it, has the library."""
    yield root / "build" / "Release" / "libndshm.so"
    yield root / "prebuilds" / f"linux-{_architecture()}" / "libndshm.so"


def _bind(path: Path) -> None:
    # Both names mean the same library, which is loaded once.
    releasing, keeping = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
    version = getattr(releasing, "ndshm_abi_version", lambda: None)()
    if version != ABI_VERSION:
        raise OSError(f"its ABI has version {version}, and this package needs {ABI_VERSION}")
    for library, functions in ((releasing, lib), (keeping, fast)):
        for name, (result, arguments) in _prototypes.items():
            function = getattr(library, f"ndshm_{name}")
            function.restype, function.argtypes = result, arguments
            functions.__dict__[f"ndshm_{name}"] = function
    _libraries.append(keeping)


assert (ctypes.sizeof(Failure), ctypes.sizeof(Facts)) == (ERROR_BYTES, FACTS_BYTES)
assert (ctypes.sizeof(Control), ctypes.sizeof(Peer)) == (CONTROL_INFO_BYTES, PEER_INFO_BYTES)
