"""A Node process that takes part in a test."""

from __future__ import annotations

import shutil
from typing import Any

from peer import ROOT, Peer

NODE = shutil.which("node") or "node"

# A line in is a call: the body of an async function, and its arguments. A line out is its outcome. `kept` lives on.
_RUNNER = """
const ndshm = require(process.argv[1]);
const kept = {};
const AsyncFunction = (async () => {}).constructor;
const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\\n');
const lines = require('node:readline').createInterface({ input: process.stdin });
lines.on('line', async (line) => {
  const { id, body, args } = JSON.parse(line);
  try {
    const call = new AsyncFunction('ndshm', 'kept', ...Object.keys(args), body);
    const value = await call(ndshm, kept, ...Object.values(args));
    say({ id, value: value === undefined ? null : value });
  } catch (error) {
    say({ id, error: { code: error.code, message: error.message } });
  }
});
lines.on('close', () => process.exit());
"""


class Node(Peer):
    """Runs bodies of async JavaScript functions, which see `ndshm`, `kept` (an object that lives on) and the keyword
    arguments by their names. What was begun and not answered runs beside what follows.

    >>> with Node() as node:
    ...     node.run("return 40 + n;", n=2)
    42
    """

    def __init__(self, script: str = "", **args: Any) -> None:
        super().__init__([NODE, "-e", _RUNNER, str(ROOT)])
        if script:
            self.run(script, **args)
