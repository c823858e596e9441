"""The golden segment of layout version 1, parsed by numpy and the generated numbers alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ndshm import _layout

GOLDEN = Path(__file__).parents[2] / "test/fixtures/segment-v1.npy"


def fields_at(part: str, fields: dict[str, tuple[int, int]]) -> dict[str, bytes]:
    control = GOLDEN.read_bytes()[-_layout.CONTROL_BYTES :]
    begin, _ = _layout.CONTROL_BLOCK[part]
    return {name: control[begin + offset : begin + offset + size] for name, (offset, size) in fields.items()}


def numbers(fields: dict[str, bytes], *names: str) -> list[int]:
    return [int.from_bytes(fields[name], "little") for name in names]


def test_numpy_reads_its_elements() -> None:
    a = np.load(GOLDEN, mmap_mode="r")
    assert (a.dtype, a.shape, a.flags.f_contiguous) == (np.float32, (2, 3), True)
    assert a.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert a.offset == _layout.HEADER_BYTES


def test_its_header_says_what_it_is() -> None:
    header = fields_at("header", _layout.CONTROL_HEADER)
    assert header["magic"] == _layout.MAGIC
    assert numbers(header, "layout_version", "control_bytes") == [1, _layout.CONTROL_BYTES]
    assert numbers(header, "data_offset", "data_bytes") == [_layout.HEADER_BYTES, 2 * 3 * 4]
    assert numbers(header, "flags", "peer_slots") == [0, _layout.PEER_SLOTS]
    assert header["segment_id"] != bytes(16)
    created = np.datetime64(*numbers(header, "created_at_ns"), "ns")
    assert created.astype("datetime64[Y]") == np.datetime64("2026")


def test_nobody_holds_its_lock() -> None:
    words = fields_at("lock", _layout.LOCK_WORDS)
    assert {name: field for name, field in words.items() if any(field)} == {}


def test_it_is_nobodys_member() -> None:
    begin, size = _layout.CONTROL_BLOCK["member_of"]
    assert GOLDEN.read_bytes()[-_layout.CONTROL_BYTES :][begin : begin + size] == bytes(size)


def test_its_first_slot_was_claimed_once_to_write() -> None:
    peer = fields_at("peers", _layout.PEER_SLOT)
    assert numbers(peer, "reader_flag", "used", "generation", "waiting_for") == [0, 1, 1, 0]
    assert numbers(peer, "mode") == [_layout.MODE_READ_WRITE]
    assert numbers(peer, "pid") == numbers(peer, "tid")


def test_no_other_slot_was_used() -> None:
    begin, size = _layout.CONTROL_BLOCK["peers"]
    others = GOLDEN.read_bytes()[-_layout.CONTROL_BYTES :][begin + _layout.PEER_BYTES : begin + size]
    assert others == bytes((_layout.PEER_SLOTS - 1) * _layout.PEER_BYTES)
