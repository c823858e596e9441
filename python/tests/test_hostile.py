"""Files that others have made or broken: errors, and never a crash."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

import numpy as np
import pytest

import ndshm

SHM = Path("/dev/shm")
FIXTURES = Path(__file__).resolve().parents[2] / "test" / "fixtures"


def code_of(call) -> str:
    with pytest.raises((ndshm.Error, OSError)) as raised:
        call()
    return raised.value.code


def npy(header: bytes, version: bytes = b"\x01\x00", data: bytes = b"\0" * 64) -> bytes:
    length = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + data


def header(descr: str = "'|u1'", fortran: str = "False", shape: str = "(3,)") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    return text.ljust(117) + b"\n"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "ERR_NDSHM_HEADER"),
        (b"\x93NUMPY", "ERR_NDSHM_HEADER"),
        (b"\x93NUMPY\x01\x00", "ERR_NDSHM_HEADER"),
        (b"\x93NUMPY\x02\x00\x01\x00", "ERR_NDSHM_HEADER"),
        (b"not an array at all" * 10, "ERR_NDSHM_HEADER"),
        (npy(header(), b"\x04\x00"), "ERR_NDSHM_HEADER"),
        (npy(header(), b"\x01\x01"), "ERR_NDSHM_HEADER"),
        (npy(b"x" * 10_001, b"\x02\x00"), "ERR_NDSHM_HEADER"),
        (npy(header())[:60], "ERR_NDSHM_HEADER"),
        (npy(b"__import__('os').abort()\n"), "ERR_NDSHM_HEADER"),
        (npy(b"[" * 5000 + b"\n", b"\x02\x00"), "ERR_NDSHM_HEADER"),
        (npy(b"{'descr': '|u1', 'shape': (3,)}\n"), "ERR_NDSHM_HEADER"),
        (npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (3,), 'x': 1}\n"), "ERR_NDSHM_HEADER"),
        (npy(header(shape="(-1,)")), "ERR_NDSHM_HEADER"),
        (npy(header(shape="(True,)")), "ERR_NDSHM_HEADER"),
        (npy(header(shape="(3.0,)")), "ERR_NDSHM_HEADER"),
        (npy(header(shape="[3]")), "ERR_NDSHM_HEADER"),
        (npy(header(shape="3")), "ERR_NDSHM_HEADER"),
        (npy(header(shape=f"({2**53},)")), "ERR_NDSHM_HEADER"),
        (npy(header(shape=f"(0x{'f' * 5000},)")), "ERR_NDSHM_HEADER"),
        (npy(header(shape="(" + "1, " * 65 + ")").ljust(300)), "ERR_NDSHM_HEADER"),
        (npy(header(fortran="0")), "ERR_NDSHM_HEADER"),
        (npy(header(descr="7")), "ERR_NDSHM_HEADER"),
        (npy(header(shape=f"({2**40}, {2**40})")), "ERR_NDSHM_SHAPE"),
        (npy(header(shape=f"({2**52},)")), "ERR_NDSHM_TRUNCATED"),
        (npy(header(shape="(65,)")), "ERR_NDSHM_TRUNCATED"),
        (npy(header(descr="'|O'")), "ERR_NDSHM_DTYPE"),
        (npy(header(descr="'<U3'")), "ERR_NDSHM_DTYPE"),
        (npy(header(descr="'>f8'")), "ERR_NDSHM_DTYPE"),
        (npy(header(descr="[('a', '<i4')]")), "ERR_NDSHM_DTYPE"),
        (npy(header(descr="'<M8[s]'")), "ERR_NDSHM_DTYPE"),
        (npy(header(descr="'<f8'", shape="(1,)")[:-2] + b"\n"), "ERR_NDSHM_ALIGNMENT"),
    ],
)
def test_a_hostile_header_is_refused(fresh_name, content, code):
    name = fresh_name()
    (SHM / name).write_bytes(content)
    assert code_of(lambda: ndshm.open(name)) == code
    info = ndshm.stat(name)
    assert info.kind == ("npy" if content.startswith(b"\x93NUMPY") else "foreign")
    assert (info.problem is not None) == (info.kind == "npy")
    assert isinstance(ndshm.list(foreign=True), list)


@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00"])
@pytest.mark.parametrize("descr", ["'|u1'", "'<u1'", "'=u1'", "'>u1'"])
def test_other_legal_spellings_are_read(fresh_name, version, descr):
    name = fresh_name()
    (SHM / name).write_bytes(npy(header(descr=descr), version, b"\x01\x02\x03"))
    with ndshm.open(name) as a:
        assert a.tolist() == [1, 2, 3]


def test_the_golden_segment_opens(fresh_name):
    name = fresh_name()
    (SHM / name).write_bytes((FIXTURES / "segment-v1.npy").read_bytes())
    with ndshm.open(name, "r+") as a:
        assert (a.dtype, a.shape, a.flags.f_contiguous) == (np.dtype("float32"), (2, 3), True)
        assert sorted(a.ravel().tolist()) == [1, 2, 3, 4, 5, 6]
        with a.write():
            a[0, 0] = 10
        assert a.version == 2


@pytest.mark.parametrize(
    ("at", "value", "code"),
    [
        (8, 2, "ERR_NDSHM_CONTROL_VERSION"),
        (12, 4096, "ERR_NDSHM_CONTROL_CORRUPT"),
        (16, 0, "ERR_NDSHM_CONTROL_CORRUPT"),
        (24, 2**31, "ERR_NDSHM_CONTROL_CORRUPT"),
        (52, 7, "ERR_NDSHM_CONTROL_CORRUPT"),
    ],
)
def test_a_control_block_that_contradicts_the_file_is_refused(fresh_name, at, value, code):
    name = fresh_name()
    ndshm.create(name, 3).close()
    content = bytearray((SHM / name).read_bytes())
    struct.pack_into("<I", content, len(content) - 20480 + at, value)
    (SHM / name).write_bytes(content)
    assert code_of(lambda: ndshm.open(name)) == code
    assert ndshm.stat(name).problem.code == code


@pytest.mark.parametrize("word", [0x1FF, 511 << 9, 300, 0xFFFFFFFF])
def test_lock_words_that_mean_nothing_are_an_error(fresh_name, word):
    with ndshm.create(fresh_name(), 3, ephemeral=True) as a:
        assert a.version == 0
        with (SHM / a.name).open("r+b") as file:
            file.seek(-20480 + 64, os.SEEK_END)
            file.write(struct.pack("<I", word))
            file.flush()
        assert code_of(lambda: a.write(timeout=1).__enter__()) == "ERR_NDSHM_CONTROL_CORRUPT"
        assert code_of(lambda: a.read(timeout=1).__enter__()) == "ERR_NDSHM_CONTROL_CORRUPT"


def test_whoever_robs_us_of_the_lock_causes_an_error(fresh_name):
    with ndshm.create(fresh_name(), 3, ephemeral=True) as a:

        def rob():
            with a.write(), (SHM / a.name).open("r+b") as file:
                file.seek(-20480 + 64, os.SEEK_END)
                file.write(struct.pack("<I", 0))

        assert code_of(rob) == "ERR_NDSHM_CONTROL_CORRUPT"
        with a.write():
            pass


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_truncated_file_is_an_error_and_no_crash(fresh_name, mode):
    name = fresh_name()
    ndshm.create(name, 1 << 16).close()
    with ndshm.open(name, mode) as a:
        assert a.sum() == 0
        os.truncate(SHM / name, 8192)
        assert a.sum() == 0  # touches what is gone
        assert code_of(lambda: a.version) == "ERR_NDSHM_TRUNCATED"
        assert code_of(lambda: a.read()) == "ERR_NDSHM_TRUNCATED"
        assert code_of(lambda: a.handle) == "ERR_NDSHM_TRUNCATED"
    with ndshm.create(fresh_name(), 3, ephemeral=True) as other, other.write():
        other[0] = 1


def test_other_files(fresh_name, tmp_path):
    name = fresh_name()
    os.mkfifo(SHM / name)
    assert code_of(lambda: ndshm.open(name)) == "ENODEV"
    assert code_of(lambda: ndshm.create(name, 3)) == "EEXIST"
    (SHM / name).unlink()
    (SHM / name).symlink_to(tmp_path)
    assert code_of(lambda: ndshm.open(name)) == "ELOOP"
    assert code_of(lambda: ndshm.create(name, 3)) == "EEXIST"
    (SHM / name).unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a file of another user")
def test_another_users_segment(fresh_name):
    name = fresh_name()
    ndshm.create(name, 3).close()
    os.chown(SHM / name, 65534, 65534)
    assert code_of(lambda: ndshm.open(name)) == "ERR_NDSHM_FOREIGN_OWNER"
    assert code_of(lambda: ndshm.create(name, 3, if_exists="replace")) == "ERR_NDSHM_FOREIGN_OWNER"
    with ndshm.open(name, allow_foreign_owner=True) as a:
        assert a.shape == (3,)


def test_a_call_of_the_core_with_a_closed_handle_is_an_error_of_ctypes():
    from ndshm._library import fast

    with pytest.raises(ctypes.ArgumentError):
        fast.ndshm_lock_leave_read(None)


def test_a_name_that_is_no_text_disturbs_nobody():
    path = os.fsencode(SHM) + b"/py-hostile-\xff"
    Path(os.fsdecode(path)).touch()
    try:
        ndshm.gc()
        names = [info.name for info in ndshm.list(foreign=True)]
        assert not any(name.startswith("py-hostile-") for name in names)
    finally:
        os.unlink(path)
