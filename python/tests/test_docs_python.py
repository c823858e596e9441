"""docs/python.md: every block runs, and every cell of its tables gives what its row says, in both languages.

So do the README's blocks of the package."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest

from documents import ROOT, Block, Cell, Row, blocks_of, names_in, prelude_of, renamed, rows_of

SHM = Path("/dev/shm")
PAGE = (ROOT / "docs/python.md").read_text()
ROWS = rows_of(PAGE)
BLOCKS = [block for block in blocks_of(PAGE, "python", "js") if block.file is None]
README = [block for block in blocks_of((ROOT / "README.md").read_text(), "python") if "import ndshm" in block.code]
FILES = [block for block in blocks_of(PAGE, "python", "js") if block.file is not None]
LIMIT_S = 60

# What a cell may import that is not everywhere: it runs where it is.
OPTIONAL = re.compile(r"^import (ray|joblib|torch)\b", re.MULTILINE)
SINCE = re.compile(r"# Python 3\.(\d+)")

# What a block prints stands behind the statement that prints it.
PRINTS = re.compile(r"(?:print|console\.log)\(.*\);? +(?:#|//) (.*)$", re.MULTILINE)

# Arrays are lists in JSON, and bytes are text.
PRINT_IN_PYTHON = """

def plain(value):
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (bytes, bytearray)):
        return value.decode()
    return plain(value.tolist()) if isinstance(value, (np.ndarray, np.generic)) else value

import json
print("=>", json.dumps(plain(value)), flush=True)
"""
PRINT_IN_JAVASCRIPT = """
function plain(value) {
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof ndshm.SharedArray) return plain(value.toNested());
  if (Buffer.isBuffer(value)) return value.toString();
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value, plain);
  if (value === null || typeof value !== 'object') return value ?? null;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}
console.log('=>', JSON.stringify(plain(value)));
"""


@dataclass(frozen=True)
class Language:
    command: str
    suffix: str
    value_is: str
    print_value: str


LANGUAGES = {
    "python": Language(sys.executable, ".py", "value = ({})", PRINT_IN_PYTHON),
    "js": Language(shutil.which("node") or "node", ".mjs", "const value = ({});", PRINT_IN_JAVASCRIPT),
}


class Programs:
    """Child programs, each in a folder of its own with the page's files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "node_modules").mkdir()
        (folder / "node_modules/ndshm").symlink_to(ROOT)

    def start(self, text: str, language: str, prefix: str) -> subprocess.Popen[str]:
        folder = self._folder / prefix
        folder.mkdir()
        for block in FILES:
            (folder / str(block.file)).write_text(renamed(block.code, prefix))
        program = folder / f"program{LANGUAGES[language].suffix}"
        program.write_text(text)
        return subprocess.Popen(
            [LANGUAGES[language].command, program.name],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(tmp_path_factory.mktemp("docs-python"))


@dataclass(frozen=True)
class Outcome:
    pid: int
    code: int
    out: str
    err: str


def outcome_of(program: subprocess.Popen[str]) -> Outcome:
    """Waits for it and, since they write to the same pipes, for what it has started, resource trackers included."""
    try:
        out, err = program.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        out, err = program.communicate()
        err += f"\nNot ended within {LIMIT_S} s"
    return Outcome(program.pid, program.returncode, out, err)


def language_of(cell: Cell) -> str:
    return "js" if cell.column.endswith("JavaScript") else "python"


def can_run(cell: Cell) -> bool:
    needed = OPTIONAL.search(cell.code)
    since = SINCE.search(cell.code)
    return (needed is None or importlib.util.find_spec(needed[1]) is not None) and (
        since is None or sys.version_info >= (3, int(since[1]))
    )


def program_of(cell: Cell, prefix: str) -> str:
    language = language_of(cell)
    *before, last = renamed(cell.code, prefix).splitlines()
    value_is = LANGUAGES[language].value_is.format(last.rstrip(";"))
    return "\n".join([prelude_of(PAGE, language), *before, value_is, LANGUAGES[language].print_value])


def value_in(out: str, prefix: str) -> Any:
    values = re.findall(r"^=> (.*)$", out, re.MULTILINE)
    assert len(values) == 1, f"It gave no value:\n{out}"
    return json.loads(values[0].replace(f"{prefix}-", ""))


def same(a: Any, b: Any) -> bool:
    """As JSON: 1 is 1.0, but not true."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def left_by(code: str, prefix: str, pid: int) -> set[str]:
    """What it left and does not name. A name that it gives in quotes stays until unlink(), and is removed here."""
    left = {name for name in os.listdir(SHM) if name.startswith((prefix, f"pool-{pid}-"))}
    stays = "ephemeral" not in code and "Store" not in code and "SharedMemory" not in code
    named = names_in(code, prefix) if stays else set()
    for name in left & named:
        (SHM / name).unlink()
    return left - named


def test_the_page_has_rows_and_blocks() -> None:
    assert len(ROWS) >= 120
    assert len(BLOCKS) >= 10
    assert len(README) == 1


@pytest.mark.parametrize("cells", ["`1` | `2` |", "`1` | `2` | ", "1 | `2` | `2`", "*none* | *none* | `2`"])
def test_a_row_without_code_or_value_is_an_error(cells: str) -> None:
    with pytest.raises(AssertionError, match="Line 3"):
        rows_of(f"| multiprocessing | ndshm in Python | gives |\n|---|---|---|\n| {cells} |\n")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line-{row.line}")
def test_every_cell_gives_what_its_row_says(row: Row, programs: Programs, fresh_name: Callable[..., str]) -> None:
    expected = json.loads(row.gives)
    prefixes = {cell: fresh_name(language_of(cell)) for cell in row.cells if can_run(cell)}
    started = {
        cell: programs.start(program_of(cell, prefix), language_of(cell), prefix) for cell, prefix in prefixes.items()
    }
    outcomes = {cell: outcome_of(program) for cell, program in started.items()}
    for cell, ended in outcomes.items():
        where = f"{cell.column}, line {row.line}"
        assert ended.code == 0, f"{where} failed:\n{cell.code}\n{ended.err}"
        value = value_in(ended.out, prefixes[cell])
        assert same(value, expected), f"{where}: {value}, not {expected}"
        # CPython itself complains of some of what its documentation recommends.
        if cell.column.startswith("ndshm"):
            assert ended.err == "", f"{where}: {ended.err}"
        left = left_by(renamed(cell.code, prefixes[cell]), prefixes[cell], ended.pid)
        assert not left, f"{where} left in /dev/shm: {left}"


@pytest.mark.parametrize("block", [*BLOCKS, *README], ids=lambda block: f"line-{block.line}")
def test_every_block_runs_and_leaves_nothing(block: Block, programs: Programs, fresh_name: Callable[..., str]) -> None:
    prefix = fresh_name(block.language)
    ended = outcome_of(programs.start(renamed(block.code, prefix), block.language, prefix))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.replace(f"{prefix}-", "").splitlines() == PRINTS.findall(block.code)
    left = {name for name in os.listdir(SHM) if name.startswith((prefix, f"pool-{ended.pid}-"))}
    assert not left, f"It left in /dev/shm: {left}"
