"""Another Python process that takes part in a test."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from peer import Peer

_RUNNER = """
import json, sys, textwrap
import ndshm
kept = {}
for line in sys.stdin:
    call = json.loads(line)
    names = ", ".join(call["args"])
    scope = {"ndshm": ndshm, "kept": kept}
    outcome = {"id": call["id"]}
    try:
        exec(f"def call({names}):\\n" + textwrap.indent(call["body"], " "), scope)
        outcome["value"] = scope["call"](**call["args"])
    except BaseException as error:
        outcome["error"] = {"code": getattr(error, "code", type(error).__name__), "message": str(error)}
    print(json.dumps(outcome), flush=True)
kept.clear()
"""


class Python(Peer):
    """Runs bodies of functions, which see `ndshm`, `kept` (a dict that lives on) and the keyword arguments by their
    names; one after the other, in the main thread.

    >>> with Python() as python:
    ...     python.run("return 40 + n", n=2)
    42
    """

    def __init__(self, script: str = "", **args: Any) -> None:
        package = str(Path(__file__).resolve().parents[1])
        super().__init__([sys.executable, "-c", _RUNNER], {**os.environ, "PYTHONPATH": package})
        if script:
            self.run(script, **args)
