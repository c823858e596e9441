"""What is said on a new connection before anything else: lib/manager/auth.ts describes it, and who learns what."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

from ..errors import Error, InvalidValue, error, wrong_kind

_BANNER = b"ndshm-manager/1\n"
_PROTOCOL_NAME = b"ndshm-manager/"
_NONCE_BYTES = 32
_PROOF_BYTES = 32
_WELCOME = b"\1"
_SHORTEST_KEY = 16

# Gives so many bytes; none where the other side has ended the connection instead.
Receive = Callable[[int], "bytes | None"]
Send = Callable[[bytes], None]


def check_auth_key(key: object) -> bytes:
    """The secret that both sides share; a string stands for its UTF-8."""
    if not isinstance(key, (str, bytes, bytearray)):
        raise wrong_kind("a string or bytes", "auth_key", key)
    made = key.encode() if isinstance(key, str) else bytes(key)
    if len(made) < _SHORTEST_KEY:
        advice = "secrets.token_hex(32) makes a good one"
        raise InvalidValue(f"Expected at least {_SHORTEST_KEY} bytes for auth_key but received {len(made)}; {advice}")
    return made


def derived(key: bytes, purpose: str) -> bytes:
    """The key for one purpose: HKDF of RFC 5869 with SHA-256, no salt, and one block."""
    extracted = hmac.digest(bytes(hashlib.sha256().digest_size), key, "sha256")
    return hmac.digest(extracted, f"ndshm manager 1 {purpose}".encode() + b"\1", "sha256")


def introduce(send: Send, receive: Receive, key: bytes | None) -> None:
    """Proves to a manager that this side has the key, and has it prove the same.

    Errors: ERR_NDSHM_AUTH; ERR_NDSHM_PROTOCOL where it is something else, or of another version; ERR_NDSHM_MANAGER_LOST
    where it ended the connection.
    """
    client_nonce = secrets.token_bytes(_NONCE_BYTES)
    send(_BANNER + client_nonce)
    theirs = _expect(receive(len(_BANNER)), "its greeting")
    if theirs != _BANNER:
        raise _not_understood(theirs)
    nonces = client_nonce + _expect(receive(_NONCE_BYTES), "its greeting")
    secret = derived(key or b"", "handshake")

    def prove(role: bytes) -> bytes:
        return hmac.digest(secret, role + _BANNER + nonces, "sha256")

    if not hmac.compare_digest(_expect(receive(_PROOF_BYTES), "its proof"), prove(b"server")):
        raise _refused()
    send(prove(b"client"))
    answer = receive(len(_WELCOME))
    if answer is None:
        raise _refused()
    if answer != _WELCOME:
        raise _not_understood(answer)


def _expect(received: bytes | None, what: str) -> bytes:
    if received is not None:
        return received
    why = "it is closing, has as many connections as it allows (maxConnections), or did not accept this one"
    raise error("ERR_NDSHM_MANAGER_LOST", f"The other side ended the connection before {what}: {why}")


def _refused() -> Error:
    why = "The two sides do not have the same auth_key, or only one of them has any"
    return error("ERR_NDSHM_AUTH", f"{why}; give both the same one")


def _not_understood(theirs: bytes) -> Error:
    what = "is neither a manager nor a client of one; check the address"
    if theirs.startswith(_PROTOCOL_NAME):
        version = theirs[len(_PROTOCOL_NAME) :].decode("latin-1").rstrip()
        what = f"speaks version {version!r} of the managers' protocol, this one version '1'; use the same ndshm"
    return error("ERR_NDSHM_PROTOCOL", f"The other side {what}")
