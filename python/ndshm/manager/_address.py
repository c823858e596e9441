"""Where a manager listens."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import NamedTuple

from ..errors import InvalidValue, wrong_kind

_EXPECTED = "the path of a unix socket or 'tcp://host:port'"
# What fits into sun_path of sockaddr_un (unix(7)), with the zero byte at its end.
_LONGEST_PATH = 107
_TCP = re.compile(r"tcp://(?:\[([^\]]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")
_OTHER_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")


class UnixAddress(NamedTuple):
    path: str
    """Absolute."""


class TcpAddress(NamedTuple):
    host: str
    port: int


def parse_address(given: object) -> UnixAddress | TcpAddress:
    """Reads an address as Node's managers write it.

    Errors: ERR_NDSHM_INVALID_ARGUMENT for what is no string, ERR_NDSHM_OUT_OF_RANGE.
    """
    if not isinstance(given, str):
        raise wrong_kind(_EXPECTED, "address", given)
    if given.startswith("tcp:"):
        return _tcp(given)
    path = given[len("unix:") :] if given.startswith("unix:") else given
    if path == "" or path.endswith("/") or "\0" in path or _OTHER_SCHEME.match(path) is not None:
        raise _no_address(given)
    path = os.path.abspath(path)
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise InvalidValue(f"Expected at most {_LONGEST_PATH} bytes for the path of a unix socket but received {path}")
    return UnixAddress(path)


def _tcp(given: str) -> TcpAddress:
    match = _TCP.fullmatch(given)
    if match is None or int(match[3]) > 65_535:
        raise _no_address(given)
    if match[1] is not None:
        try:
            ipaddress.IPv6Address(match[1])
        except ValueError:
            raise _no_address(given) from None
    return TcpAddress(match[1] or match[2], int(match[3]))


def _no_address(given: str) -> InvalidValue:
    return InvalidValue(f"Expected {_EXPECTED} for address but received {given[:200]!r}")
