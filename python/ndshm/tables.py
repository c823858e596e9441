"""Arrow tables as named segments: plain Arrow IPC files, which every Arrow library maps as they are."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from . import errors
from ._plain_file import check_naming, open_bytes, publish_file

if TYPE_CHECKING:
    import pyarrow

__all__ = ["open_table", "put_table"]


def put_table(name: str, table: object, *, if_exists: str = "error", allow_foreign_owner: bool = False) -> None:
    """Puts a table into shared memory under a name, as an uncompressed Arrow IPC file.

    A copy, made where it stays, complete before it has its name. `table` is a ``pyarrow.Table`` or whatever
    ``pyarrow.table()`` takes: DataFrames of pandas and polars, a dict of arrays. Node opens it by ``openTable()``,
    other programs by ``pyarrow.memory_map('/dev/shm/NAME')``. `if_exists`: ``'replace'`` swaps it atomically; who has
    the old one open keeps it. It stays until ``unlink()``. Blocks while it copies.

    Errors: EEXIST, ENOSPC, ERR_NDSHM_INVALID_NAME, ERR_NDSHM_INVALID_ARGUMENT, ERR_NDSHM_FOREIGN_OWNER,
    ERR_NDSHM_UNSUPPORTED if ``pyarrow`` is not installed.

    >>> import ndshm
    >>> ndshm.put_table("demo-put-table", {"price": [1.5, 2.5], "n": [7, 8]})
    >>> ndshm.unlink("demo-put-table")
    """
    pa = _pyarrow()
    check_naming(name, if_exists, allow_foreign_owner)
    try:
        given = table if isinstance(table, pa.Table) else pa.table(table)
    except (TypeError, ValueError) as cause:
        raise errors.wrong_kind("a table", "the table", table) from cause
    counter = pa.MockOutputStream()
    _write(pa, given, counter)
    publish_file(
        name,
        counter.size(),
        lambda pages: _write(pa, given, pa.FixedSizeBufferWriter(pa.py_buffer(pages))),
        if_exists,
        allow_foreign_owner,
    )


def _write(pa: ModuleType, table: pyarrow.Table, sink: pyarrow.NativeFile) -> None:
    # A file has one dictionary for each column.
    options = pa.ipc.IpcWriteOptions(unify_dictionaries=True)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)


def open_table(name: str, *, allow_foreign_owner: bool = False) -> pyarrow.Table:
    """Opens an Arrow IPC file in /dev/shm, whoever put it there, as a ``pyarrow.Table``.

    Its columns are views on the mapped pages, read-only: nothing is copied, unless the file is compressed. The mapping
    ends with the last table, column or buffer that looks at it. Of a file that somebody else may have spoilt, the
    table's own ``validate(full=True)`` finds what is wrong within columns. Does not block.

    Errors: ENOENT, EACCES, ERR_NDSHM_FORMAT, ERR_NDSHM_FOREIGN_OWNER, ERR_NDSHM_UNSUPPORTED if ``pyarrow`` is not
    installed.

    >>> import ndshm
    >>> ndshm.put_table("demo-open-table", {"price": [1.5, 2.5]})
    >>> ndshm.open_table("demo-open-table").column("price").to_pylist()
    [1.5, 2.5]
    >>> ndshm.unlink("demo-open-table")
    """
    pa = _pyarrow()
    memory = open_bytes(name, "r", allow_foreign_owner).memory
    try:
        table = pa.ipc.open_file(pa.py_buffer(memory)).read_all()
        table.validate()
    except (pa.ArrowException, OSError) as cause:
        raise errors.error("ERR_NDSHM_FORMAT", f"'{name}' is not an Arrow file that can be mapped: {cause}") from cause
    return table


def _pyarrow() -> ModuleType:
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError as cause:
        message = "Arrow tables need 'pyarrow', which is not installed: pip install pyarrow"
        raise errors.error("ERR_NDSHM_UNSUPPORTED", message) from cause
    return pa
