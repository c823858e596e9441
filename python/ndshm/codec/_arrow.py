"""Tables as Arrow IPC streams. pyarrow is the caller's to install: looked for when the first table comes along."""

from __future__ import annotations

import struct
import sys
from typing import Any

from ..errors import error
from ._object_format import corrupt


def is_table(value: object) -> bool:
    """Whoever has one has loaded the library."""
    arrow = sys.modules.get("pyarrow")
    return arrow is not None and isinstance(value, (arrow.Table, arrow.RecordBatch))


def table_to_bytes(table: Any) -> memoryview:
    arrow = _load()
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return memoryview(sink.getvalue()).cast("B")


def bytes_to_table(stream: memoryview) -> Any:
    """A table whose columns are views on these bytes, which may be anything."""
    arrow = _load()
    source = arrow.py_buffer(stream)
    _refuse_compression(arrow, source)
    with arrow.ipc.open_stream(source) as reader:
        table = reader.read_all()
    # pyarrow believes the offsets within columns; this looks at all of them.
    table.validate(full=True)
    return table


def _load() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as cause:
        message = "The object holds an Arrow table, and pyarrow is not installed: pip install pyarrow"
        raise error("ERR_NDSHM_UNSUPPORTED", message) from cause
    # Before that, reading a stream could run code that it brings along (CVE-2023-47248).
    if tuple(int(part) for part in pyarrow.__version__.split(".")[:2]) < (14, 0) or pyarrow.__version__ == "14.0.0":
        message = f"The object holds an Arrow table; pyarrow {pyarrow.__version__} reads them unsafely, 14.0.1 does not"
        raise error("ERR_NDSHM_UNSUPPORTED", message)
    return pyarrow


def _refuse_compression(arrow: Any, source: Any) -> None:
    """Compressed columns take as much room as they claim to; Node's reader does not read them, either."""
    for message in arrow.ipc.MessageReader.open_stream(source):
        if message.type != "schema" and _is_compressed(message.type, message.metadata):
            raise corrupt("its Arrow stream is compressed")


def _is_compressed(kind: str, metadata: Any) -> bool:
    """Of a record batch or dictionary batch: the metadata is a FlatBuffer of Arrow's Message.fbs."""
    view = memoryview(metadata)
    header = _target(view, _field(view, _target(view, 0), 2))
    batch = _target(view, _field(view, header, 1)) if kind == "dictionary" else header
    return _field(view, batch, 3) != 0


def _target(view: memoryview, at: int) -> int:
    return at + struct.unpack_from("<I", view, at)[0]


def _field(view: memoryview, table: int, number: int) -> int:
    """Where a table has a field; 0 = it does not have it."""
    vtable = table - struct.unpack_from("<i", view, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", view, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", view, vtable + 4 + 2 * number)[0]
    return table + offset if offset != 0 else 0
