"""What a method has thrown, as lib/manager/thrown.ts tells it."""

from __future__ import annotations

from typing import Any

from ..codec import RemoteError, decode, to_bytes
from ..errors import Error, error
from ._frames import broken

_MAX_CAUSES = 8


def thrown_of(expression: Any) -> Exception:
    """What a call is rejected with, or the connection ended: of class, message and code, or of the whole in bytes."""
    if not isinstance(expression, list) or len(expression) < 3 or expression[0] != "error":
        raise broken("an error that is none")
    properties = expression[4] if len(expression) > 4 and isinstance(expression[4], dict) else {}
    message, code, told = str(expression[2]), properties.get("code"), properties.get("ndshm")
    if isinstance(told, list) and len(told) == 2 and told[0] == "bytes" and isinstance(told[1], bytearray):
        try:
            return _retell(decode(told[1]), _MAX_CAUSES)
        except Error as corrupt:
            return corrupt
    return error(code if isinstance(code, str) else "ERR_NDSHM_PROTOCOL", message)


def abort_bytes() -> bytes:
    """The reason of a call that its caller has given up, as something that was thrown."""
    text = "The caller has given the call up"
    return to_bytes({"isError": True, "name": "AbortError", "message": text, "stack": None, "properties": []})


def _retell(told: Any, depth: int) -> Exception:
    """The bytes may say anything."""
    if not isinstance(told, dict):
        return broken("an error that is none")
    if told.get("isError") is not True:
        return RemoteError("Error", f"What was thrown is no error: {told.get('value')!r}", None, told.get("value"))
    cause = _retell(told["cause"], depth - 1) if "cause" in told and depth > 0 else None
    stack = told.get("stack")
    remote = RemoteError(
        str(told.get("name")), str(told.get("message")), stack if isinstance(stack, str) else None, cause
    )
    pairs = told.get("properties")
    for pair in pairs if isinstance(pairs, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and pair[0] == "code" and isinstance(pair[1], str):
            remote.code = pair[1]
    if remote.code is None or not remote.code.startswith("ERR_NDSHM_"):
        return remote
    made: Error = error(remote.code, str(remote.message))
    made.__cause__ = remote  # its stack says where
    return made
