"""Another process that takes part in a test: calls as lines of JSON, and outcomes back."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
# No wait of a test is longer, so that what hangs is reported, and by the test that hangs.
LIMIT = 30.0

P = TypeVar("P", bound="Peer")


class PeerError(Exception):
    """What a call threw there."""

    def __init__(self, code: str | None, message: str) -> None:
        super().__init__(message)
        self.code = code


class Peer:
    """A context manager that kills the process at its end."""

    def __init__(self, command: Sequence[str], env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._next = 0
        self._heard = b""
        self._answers: dict[int, dict[str, Any]] = {}

    @property
    def pid(self) -> int:
        return self.process.pid

    def begin(self, body: str, **args: Any) -> int:
        """Sends a call, whose outcome answer() gives."""
        self._next += 1
        line = json.dumps({"id": self._next, "body": body, "args": args})
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        return self._next

    def answer(self, call: int, limit: float = LIMIT) -> Any:
        """Waits for the outcome of a call. Raises PeerError with the code of what it threw."""
        end = time.monotonic() + limit
        while call not in self._answers:
            self._hear(end)
        outcome = self._answers.pop(call)
        if "error" in outcome:
            raise PeerError(outcome["error"].get("code"), outcome["error"]["message"])
        return outcome["value"]

    def run(self, body: str, **args: Any) -> Any:
        """Calls and waits for the outcome."""
        return self.answer(self.begin(body, **args))

    def has_answered(self, call: int) -> bool:
        """Whether an outcome has come by now."""
        assert self.process.stdout is not None
        while select.select([self.process.stdout], [], [], 0)[0]:
            self._hear(time.monotonic() + LIMIT)
        return call in self._answers

    def _hear(self, end: float) -> None:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
            raise TimeoutError("The other process did not answer in time")
        heard = os.read(self.process.stdout.fileno(), 1 << 16)
        if not heard:
            raise EOFError(f"The other process has ended: {self.process.wait(LIMIT)}")
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            outcome = json.loads(line)
            self._answers[outcome.pop("id")] = outcome

    def kill(self) -> None:
        """SIGKILL; returns once it is dead."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT)

    def end(self) -> int:
        """Lets it come to its end by itself, and gives its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(LIMIT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def __enter__(self: P) -> P:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
