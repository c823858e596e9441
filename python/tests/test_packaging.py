"""What the package says of itself is what the npm package says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

PYTHON = Path(__file__).parents[1]
ROOT = PYTHON.parent


def test_it_has_the_version_of_the_npm_package() -> None:
    stated = re.search(r'^version = "(.+)"$', (PYTHON / "pyproject.toml").read_text(), re.MULTILINE)
    assert stated is not None
    assert stated[1] == json.loads((ROOT / "package.json").read_text())["version"]


def test_it_has_the_licence_of_the_npm_package() -> None:
    assert (PYTHON / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_example_in_its_readme_runs(fresh_name: Callable[..., str]) -> None:
    example = re.search("```python\n(.*?)```", (PYTHON / "README.md").read_text(), re.DOTALL)
    assert example is not None
    name = fresh_name()
    exec(example[1].replace('"prices"', repr(name)), {})
    assert not Path("/dev/shm", name).exists()
