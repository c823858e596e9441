"""A Python without the compiled core."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ndshm

PACKAGE = str(Path(__file__).resolve().parents[1])
PROGRAM = """
import sys
import numpy
import ndshm
from ndshm import Mutex, Store, SharedArray, attach
calls = [lambda: ndshm.open(sys.argv[1]), lambda: ndshm.create('ndshm-never', 3), ndshm.list]
for call in [*calls, lambda: Mutex('ndshm-never')]:
    try:
        call()
    except ndshm.Error as error:
        assert error.code == 'ERR_NDSHM_NO_BINARY', error
        assert sys.argv[2] in str(error), error
        assert 'np.load' in str(error) or 'numpy.load' in str(error), error
    else:
        raise SystemExit('it worked')
print(numpy.load('/dev/shm/' + sys.argv[1], mmap_mode='r+').tolist())
"""


@pytest.mark.parametrize("kind", ["missing", "no library", "another version"])
def test_the_import_works_and_calls_say_what_is_the_matter(fresh_name, tmp_path, kind):
    name = fresh_name()
    ndshm.from_array(name, [1, 2]).close()
    library = tmp_path / "libndshm.so"
    says = {"missing": "no such file", "no library": "too short", "another version": "its ABI has version 99"}[kind]
    if kind == "no library":
        library.write_bytes(b"x")
    if kind == "another version":
        source = tmp_path / "old.c"
        source.write_text("unsigned ndshm_abi_version(void) { return 99; }")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    env = {**os.environ, "NDSHM_LIBRARY": str(library), "PYTHONPATH": PACKAGE}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, name, says],
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.stderr == ""
    assert ended.stdout == "[1, 2]\n"


def test_the_error_codes_are_those_of_node():
    root = Path(PACKAGE).parent
    known = {
        line.split(":")[0].strip()
        for line in (root / "lib/errors.ts").read_text().splitlines()
        if line.startswith("  ERR_NDSHM_")
    }
    used = set()
    for file in Path(PACKAGE, "ndshm").rglob("*.py"):
        used |= {
            word
            for word in file.read_text().replace('"', " ").replace("'", " ").split()
            if word.startswith("ERR_NDSHM_") and word.strip("_").isupper()
        }
    used = {word.strip("`.,:;()[]") for word in used} - {"ERR_NDSHM_"}
    assert len(used) > 20
    assert used <= known
