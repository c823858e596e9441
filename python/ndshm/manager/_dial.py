"""A new connection to a manager, up to the point where both sides know who the other one is."""

from __future__ import annotations

import contextlib
import errno as errnos
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import Error, InvalidArgument, InvalidValue, error, wrong_kind
from ._address import TcpAddress, UnixAddress
from ._auth import derived, introduce
from ._frames import FrameReader, broken, write_frame

if TYPE_CHECKING:
    import ssl

_PSK_IDENTITY = "ndshm-manager"


class Stream(NamedTuple):
    """A connection on which both sides have proved who they are and have greeted each other. It does not block."""

    socket: socket.socket
    not_now: tuple[type[OSError], ...]
    """What is raised where it would block."""


def dial(address: UnixAddress | TcpAddress, key: bytes | None, tls: object, timeout: float) -> Stream:
    """Connects. Errors: see Manager.connect()."""
    end = time.monotonic() + timeout
    raw = socket.socket(socket.AF_UNIX) if isinstance(address, UnixAddress) else None
    try:
        try:
            if isinstance(address, TcpAddress):
                context = _tls_context(key, tls)
                raw = socket.create_connection(address, timeout)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                raw.settimeout(_left(end))
                raw, not_now = _secure(raw, context, address.host, tls is None)
            else:
                assert raw is not None
                raw.settimeout(timeout)
                raw.connect(address.path)
                not_now = (BlockingIOError,)
                if key is None:
                    _check_owner(address.path)
            _greet(raw, key, end)
        except (TimeoutError, socket.timeout) as cause:  # two classes in Python 3.9
            where = address.path if isinstance(address, UnixAddress) else f"{address.host}:{address.port}"
            raise error("ERR_NDSHM_TIMEOUT", f"{where} did not answer within {timeout} s") from cause
        except OSError as cause:
            if isinstance(address, UnixAddress):
                cause.filename = address.path
            raise _in_our_words(cause)  # noqa: B904 - it is the cause where it is another one
        raw.setblocking(False)
        return Stream(raw, not_now)
    except BaseException:
        if raw is not None:
            raw.close()
        raise


def _greet(stream: socket.socket, key: bytes | None, end: float) -> None:
    def send(data: bytes) -> None:
        stream.settimeout(_left(end))
        # What has come before says why the other side is gone, or that it has said nothing.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            stream.sendall(data)

    def receive(count: int) -> bytes | None:
        return _receive(stream, count, end)

    introduce(send, receive, key)
    reader = FrameReader()
    messages: list[Any] = []
    while not messages:
        # What comes behind the greeting is for the session to read.
        data = receive(min(reader.missing, 2**16))
        if data is None:
            raise error("ERR_NDSHM_MANAGER_LOST", "The other side ended the connection before it said who it is")
        messages = reader.push(data)
    if len(messages) != 1 or not isinstance(messages[0], dict) or messages[0].get("ndshm") != 1:
        raise broken("a greeting of another version of the managers' protocol")
    # A ring would be turned by both event loops; this side has none.
    send(b"".join(write_frame({"ndshm": 1, "ring": False})))


def _receive(stream: socket.socket, count: int, end: float) -> bytes | None:
    """Exactly so many bytes; None where the other side has ended the connection."""
    data = b""
    while len(data) < count:
        stream.settimeout(_left(end))
        try:
            piece = stream.recv(count - len(data))
        except ConnectionResetError:
            return None
        if not piece:
            return None
        data += piece
    return data


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _check_owner(path: str) -> None:
    """Where there is no key, who owns the socket is all that tells who listens: in a common directory, anybody may."""
    uid = os.stat(path).st_uid
    if uid not in (os.geteuid(), 0):
        advice = "give both sides an auth_key if you trust that user"
        raise error("ERR_NDSHM_FOREIGN_OWNER", f"{path} is the socket of another user (uid {uid}); {advice}")


def _tls_context(key: bytes | None, tls: object) -> ssl.SSLContext:
    import ssl

    if tls is not None:
        if not isinstance(tls, ssl.SSLContext):
            raise wrong_kind("an ssl.SSLContext", "tls", tls)
        if tls.verify_mode != ssl.CERT_REQUIRED or not tls.check_hostname:
            raise InvalidValue("Expected an ssl.SSLContext for tls that verifies certificates and host names")
        return tls
    if key is None:
        reason = "whoever reaches the port could connect otherwise"
        raise InvalidArgument(f"TCP needs an auth_key, or certificates as `tls`: {reason}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    set_callback = getattr(context, "set_psk_client_callback", None) if getattr(ssl, "HAS_PSK", False) else None
    if set_callback is None:
        advice = "pass certificates as `tls`, or use Python 3.13"
        raise error(
            "ERR_NDSHM_UNSUPPORTED", f"TCP with an auth_key alone needs TLS-PSK, which this Python lacks; {advice}"
        )
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # there are no certificates: _secure() sees to that
    psk = derived(key, "TLS-PSK")
    set_callback(lambda _hint: (_PSK_IDENTITY, psk))
    return context


def _secure(
    raw: socket.socket, context: ssl.SSLContext, host: str, by_key: bool
) -> tuple[socket.socket, tuple[type[OSError], ...]]:
    import ssl

    secured = context.wrap_socket(raw, server_hostname=host)
    if by_key and secured.getpeercert(binary_form=True) is not None:
        secured.close()
        raise error("ERR_NDSHM_AUTH", "The other side has a certificate instead of the auth_key")
    return secured, (ssl.SSLWantReadError, ssl.SSLWantWriteError)


def _in_our_words(cause: OSError) -> OSError | Error:
    """An error of TLS where it is about who the other side is; others as they are, with their name as `code`."""
    ssl = sys.modules.get("ssl")
    if ssl is None or not isinstance(cause, ssl.SSLError):
        cause.code = errnos.errorcode.get(cause.errno or 0, "EIO")  # type: ignore[attr-defined]
        return cause
    reason = cause.reason or str(cause)
    if isinstance(cause, ssl.SSLCertVerificationError) or "ALERT" in reason:
        code, what = "ERR_NDSHM_AUTH", "has another auth_key, or one side has no certificate that the other trusts"
    else:
        code, what = "ERR_NDSHM_PROTOCOL", "does not speak TLS 1.3"
    made = error(code, f"The other side {what}: {reason}")
    made.__cause__ = cause
    return made
