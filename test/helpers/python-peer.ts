import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { python } from './python';

/** What every program of a peer begins with. */
const preamble = `
import json, sys, traceback
import numpy as np

def mapped(name, mode='r'):
    """The array of a segment, as numpy itself maps it, without the memmap class."""
    return np.load('/dev/shm/' + name, mmap_mode=mode).view(np.ndarray)

def index(items):
    """What our slice() takes as numpy's index."""
    def item(given):
        if given == '...': return Ellipsis
        if isinstance(given, str): return slice(*[int(part) if part.strip() else None for part in given.split(':')])
        return given
    return tuple(item(each) for each in items)

def content(a):
    """All there is to compare; 'bytes' are in C order."""
    return {'dtype': a.dtype.name, 'shape': list(a.shape), 'strides': list(a.strides), 'bytes': a.tobytes().hex()}
`;

const loop = `
while line := sys.stdin.readline():
    try:
        reply = {'value': answer(json.loads(line))}
    except Exception:
        reply = {'error': traceback.format_exc()}
    print(json.dumps(reply), flush=True)
`;

const patienceMs = 20_000;

/**
 * A Python process with numpy that stays alive and answers one question after the other: cheap enough to ask in each
 * run of a property. The program defines `answer(question)`; both ways everything is JSON.
 */
export class PythonPeer {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;
  readonly #exited: Promise<unknown>;

  constructor(program: string) {
    this.#child = spawn(python as string, ['-c', preamble + program + loop], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#exited = once(this.#child, 'exit');
    this.#lines = createInterface({ input: this.#child.stdout });
  }

  /** The answer; rejects with Python's traceback. One question at a time. */
  async ask<T>(question: unknown): Promise<T> {
    const signal = AbortSignal.timeout(patienceMs);
    const line = once(this.#lines, 'line', { signal });
    this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    const [text] = (await Promise.race([line, this.#diedEarly()])) as [string];
    const reply = JSON.parse(text) as { value: T } | { error: string };
    if ('error' in reply) throw new Error(`Python failed: ${reply.error}`);
    return reply.value;
  }

  async #diedEarly(): Promise<never> {
    await this.#exited;
    throw new Error(`Python exited with ${this.#child.exitCode ?? this.#child.signalCode}`);
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#exited;
  }
}

/** What content() gives in Python. */
export interface Content {
  readonly dtype: string;
  readonly shape: number[];
  readonly strides: number[];
  readonly bytes: string;
}
