"""The child of sync_peer.py in Python: does what a line of JSON asks for, and answers with one."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from ndshm import sync


class Child:
    """Has one primitive open."""

    # Each in a thread of its own, since they may block.
    WAITING = {"acquire", "wait", "put", "get", "put_all", "get_all", "until_at_least"}

    def __init__(self) -> None:
        self.it: Any = None
        self.holds: list[Any] = []

    def serve(self) -> None:
        for line in sys.stdin:
            request = json.loads(line)
            if request["body"] in self.WAITING:
                threading.Thread(target=self._answer, args=(request,), daemon=True).start()
            else:
                self._answer(request)

    def _answer(self, request: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"id": request["id"]}
        try:
            answer["value"] = self._do(request["body"], request["args"]["args"])
        except Exception as failure:
            answer["error"] = {"code": getattr(failure, "code", None), "message": repr(failure)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    def _do(self, method: str, args: list[Any]) -> Any:
        if method == "make":
            kind, name, options = args
            self.it = getattr(sync, kind)(name, **{"ephemeral": True, **options})
            return None
        own = getattr(self, f"{method}_of_{type(self.it).__name__}", None) or getattr(self, f"_{method}", None)
        if own is not None:
            return own(*args)
        attribute = getattr(self.it, method)
        return attribute(*args) if callable(attribute) else attribute

    def _acquire(self, seconds: float | None = None) -> bool:
        return self.it.acquire(timeout=seconds)

    def _acquire_now(self) -> bool:
        return self.it.acquire(blocking=False)

    def _repair(self) -> bool:
        with self.it.hold(on_abandoned="repair") as hold:
            return hold.abandoned

    def repair_of_RWLock(self) -> bool:
        with self.it.writer(on_abandoned="repair") as hold:
            return hold.abandoned

    def _read(self, seconds: float | None = None) -> bool:
        return self._enter(self.it.reader(timeout=seconds))

    def _write(self, seconds: float | None = None) -> bool:
        return self._enter(self.it.writer(timeout=seconds))

    def _enter(self, hold: Any) -> bool:
        hold.__enter__()
        self.holds.append(hold)
        return hold.abandoned

    def _let_go(self) -> None:
        self.holds.pop().__exit__(None, None, None)

    def notify_of_Condition(self, n: int) -> None:
        with self.it:
            self.it.notify(n)

    def wait_of_Condition(self, seconds: float | None = None) -> bool:
        with self.it:
            return self.it.wait(seconds)

    def put_of_Queue(self, item: Any, seconds: float | None = None) -> None:
        self.it.put(item, timeout=seconds)

    def get_of_Queue(self, seconds: float | None = None) -> Any:
        return self.it.get(timeout=seconds)

    def _put_all(self, items: list[Any]) -> None:
        for item in items:
            self.it.put(item)

    def _get_all(self) -> list[Any]:
        return list(self.it)

    def _until_at_least(self, least: float, seconds: float | None = None) -> Any:
        return self.it.until(lambda value: value >= least, timeout=seconds)

    def _add_often(self, times: int) -> None:
        for _ in range(times):
            self.it.add(1)


if __name__ == "__main__":
    Child().serve()
