"""The bytes of a segment, and numbers of the core. Made by scripts/layout.mjs from native/core."""

from __future__ import annotations

LAYOUT_VERSION = 1
MAGIC = b"NDSHMCTL"
PAGE_BYTES = 4096
HEADER_BYTES = 4096
CONTROL_BYTES = 20480
PEER_SLOTS = 256
PEER_BYTES = 64
READ_ONLY_PEER = 256
DIRECTORY = "/dev/shm/"
TEMPORARY_PREFIX = ".ndshm-"

# The parts of a control block: where they begin in it, and how many bytes they have.
CONTROL_BLOCK: dict[str, tuple[int, int]] = {
    "header": (0, 64),
    "lock": (64, 256),
    "member_of": (320, 16),
    "peers": (4096, 16384),
}

# Fields of these parts, of a peer those of its slot: where they begin in it, and how many bytes they have.
CONTROL_HEADER: dict[str, tuple[int, int]] = {
    "magic": (0, 8),
    "layout_version": (8, 4),
    "control_bytes": (12, 4),
    "data_offset": (16, 8),
    "data_bytes": (24, 8),
    "segment_id": (32, 16),
    "flags": (48, 4),
    "peer_slots": (52, 4),
    "created_at_ns": (56, 8),
}
LOCK_WORDS: dict[str, tuple[int, int]] = {
    "writer": (0, 4),
    "abandoned": (4, 4),
    "version": (64, 8),
    "change_signal": (72, 4),
    "change_waiters": (76, 4),
    "reader_signal": (128, 4),
    "drain_waits": (132, 4),
    "reader_slots": (192, 32),
}
PEER_SLOT: dict[str, tuple[int, int]] = {
    "reader_flag": (0, 4),
    "used": (4, 4),
    "generation": (8, 4),
    "mode": (12, 4),
    "pid": (16, 8),
    "attached_at_ns": (24, 8),
    "tid": (32, 4),
    "waiting_for": (36, 4),
}

# Bits of CONTROL_HEADER's flags, of LOCK_WORDS' writer and change_waiters.
EPHEMERAL = 1
SPARSE = 2
WRITER_OWNER = 511
WRITER_TURN = 261632
WRITER_TURN_SHIFT = 9
WRITER_WRITERS_WAIT = 16777216
WRITER_READERS_WAIT = 33554432
WRITER_READERS = 67108864
WRITER_ABANDONED = 134217728
CHANGE_WATCHES = 1
CHANGE_SLEEPS = 2

# numpy's memmap modes.
MODE_READ_ONLY = 1
MODE_READ_WRITE = 2
MODE_COPY_ON_WRITE = 3

# Bytes of the file that open file descriptions lock.
SLOT_LOCK = 1099511627776
READ_ONLY_LOCK = 1099511628032
NAME_LOCK = 1099511628033
LOCK_BYTES = 258
LEASE_LOCK = 2199023255552

# Why something failed.
STATUS_OK = 0
STATUS_SYSTEM = 1
STATUS_CONTROL_VERSION = 2
STATUS_CONTROL_CORRUPT = 3
STATUS_PEERS_FULL = 4
STATUS_REPLACED = 5
STATUS_BUSY_NAME = 6
STATUS_CLOSED = 7

# Of native/c_abi/ndshm.h: its version, and how many bytes its structures have.
ABI_VERSION = 1
FOREVER = 18446744073709551615
ERROR_BYTES = 32
FACTS_BYTES = 56
CONTROL_INFO_BYTES = 48
PEER_INFO_BYTES = 32
