"""The object format of docs/format.md: what stores and queues hold, the same bytes as Node's."""

from __future__ import annotations

from ._decode import decode
from ._encode import Encoded, encode, encode_array, to_bytes
from ._foreign import RegExp, RemoteError

__all__ = ["Encoded", "RegExp", "RemoteError", "decode", "encode", "encode_array", "to_bytes"]
