"""Node programs of one question, and where memory lies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_PREAMBLE = f"""
const ndshm = require({json.dumps(str(ROOT))});
const arrow = require({json.dumps(str(ROOT / "node_modules/apache-arrow"))});
const given = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
"""


def run_node(script: str, given: object = None) -> Any:
    """Runs a program in Node with `ndshm`, `arrow` and `given` there; what it printed, read as JSON."""
    done = subprocess.run(
        ["node", "-e", _PREAMBLE + script], input=json.dumps(given), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def file_at(address: int) -> str:
    """Which file is mapped at this address; '' = none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(bound, 16) for bound in line.split()[0].split("-"))
        if first <= address < last:
            return line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) == 6 else ""
    return ""
