"""As store_storm.cjs, in Python."""

from __future__ import annotations

import os
import random
import sys
import traceback
from typing import Any

import numpy as np

import ndshm

# These are what others' deleting, making and holding may lead to.
ORDINARY = {"ERR_NDSHM_STALE_HANDLE", "ERR_NDSHM_NOT_SEALED", "ERR_NDSHM_CAPACITY"}


class Storm:
    def __init__(self, name: str, seed: int) -> None:
        self.store = ndshm.Store.open(name)
        self.choose = random.Random(seed)
        self.held: list[Any] = []

    def value(self, length: int) -> dict[str, Any]:
        return {"words": self.fill(np.empty(length, np.int32)), "text": "x"}

    def fill(self, words: np.ndarray) -> np.ndarray:
        words[:] = np.arange(len(words), dtype=np.int32) + self.choose.randrange(2**20)
        return words

    def any_ref(self) -> ndshm.ObjectRef:
        refs = [each.ref for each in self.store.list()]
        if len(refs) > 40:
            self.store.delete(self.choose.choice(refs))
        return self.choose.choice(refs) if refs else self.store.put(self.value(10))

    def put(self) -> None:
        self.store.put(self.value(1 + self.choose.randrange(2000)))

    def put_large(self) -> None:
        self.store.put(self.value(20_000 + self.choose.randrange(80_000)))

    def draft(self) -> None:
        draft = self.store.create_array(20_000 + self.choose.randrange(40_000), "int32")
        self.fill(draft.array)
        if self.choose.randrange(4) == 0:
            draft.close()
        else:
            draft.seal()

    def look(self) -> None:
        check(self.store.get(self.any_ref()))

    def hold(self) -> None:
        self.held.append(self.store.get(self.any_ref()))
        if len(self.held) > 4:
            check(self.held.pop(0))

    def delete(self) -> None:
        self.store.delete(self.any_ref())

    def wait(self) -> None:
        self.store.wait([self.any_ref(), self.any_ref()], num_returns=1, timeout=0.005)

    def run(self) -> None:
        actions = [self.put, self.put_large, self.put_large, self.draft, self.look, self.hold, self.delete, self.wait]
        while True:
            for _ in range(4):
                try:
                    self.choose.choice(actions)()
                except ndshm.Error as error:
                    if error.code not in ORDINARY:
                        raise
            os.write(1, b"round\n")


def words_of(value: Any) -> np.ndarray:
    return value["words"] if isinstance(value, dict) else value


def check(value: Any) -> None:
    words = words_of(value)
    assert np.array_equal(words, np.arange(len(words), dtype=np.int32) + words[0]), "an object is not what it was"


if __name__ == "__main__":
    try:
        Storm(sys.argv[1], int(sys.argv[2])).run()
    except BaseException:
        os.write(1, f"broken: {traceback.format_exc()!r}\n".encode())
        raise
