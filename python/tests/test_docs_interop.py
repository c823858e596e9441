"""docs/interop.md: the blocks of each section run in their order, print what they say, and leave nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from documents import ROOT, blocks_of, renamed

SECTIONS = {
    title: blocks_of(section, "python", "js")
    for title, section in re.findall(
        r"^## (.*?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/interop.md").read_text(), re.M | re.S
    )
}
PRINTS = re.compile(r"(?:print|console\.log)\(.*\);?  ?(?:#|//) (.*)$", re.MULTILINE)
PROGRAMS = {"python": (sys.executable, "program.py"), "js": ("node", "program.mjs")}
LIMIT_S = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    modules = tmp_path / "node_modules"
    modules.mkdir()
    (modules / "ndshm").symlink_to(ROOT)
    (modules / "apache-arrow").symlink_to(ROOT / "node_modules/apache-arrow")
    return tmp_path


def test_each_library_has_a_section_with_an_example() -> None:
    assert {title for title, blocks in SECTIONS.items() if blocks} == {
        *("PyTorch", "pandas", "pyarrow", "polars", "safetensors"),
    }


@pytest.mark.parametrize("title", [title for title, blocks in SECTIONS.items() if blocks])
def test_the_blocks_of_a_section_run(title: str, folder: Path, fresh_name: Callable[..., str]) -> None:
    prefix = fresh_name()
    for block in SECTIONS[title]:
        command, file = PROGRAMS[block.language]
        # Node before 24 does not know `using`; what it says there is `const`, closed by the program's end.
        code = re.sub(r"^using ", "const ", renamed(block.code, prefix), flags=re.M)
        (folder / file).write_text(code)
        ended = subprocess.run(
            [command, file],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        where = f"{title}, line {block.line}"
        assert (ended.returncode, ended.stderr) == (0, ""), where
        assert ended.stdout.splitlines() == PRINTS.findall(code), where
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(prefix)]
