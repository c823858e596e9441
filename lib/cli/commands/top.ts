import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { LockState } from '../../index';
import { numberFrom, wholeNumberFrom } from '../options';
import { none, type OutputOptions, print, table } from '../output';
import { Screen } from '../screen';
import { allSegments, kindOf, memory, memoryInWords, type Segment, stateInWords } from '../segments';
import { style } from '../style';
import { bytesInWords, clipped, countInWords, printable } from '../words';

interface TopOptions extends OutputOptions {
  readonly interval: number;
  readonly count?: number;
}

interface Row {
  readonly name: string;
  readonly kind: string;
  readonly memoryBytes: number;
  readonly peers: number;
  readonly lock: LockState['state'] | null;
  /** Completed under the lock since the last look; null at the first. */
  readonly writesPerSecond: number | null;
  /** Process ids, as the peers themselves see them. */
  readonly writers: readonly (number | null)[];
  readonly readers: number;
  /** For the lock, or for what a primitive has. */
  readonly waiting: number;
}

export function define(command: Command): void {
  command
    .option('--interval <seconds>', 'time between two looks', numberFrom(0.05, 86_400), 1)
    .option('--count <looks>', 'end after as many', wholeNumberFrom(1))
    .addHelpText('after', '\nq or Ctrl-C ends it. WRITES/S counts what is written under the lock.')
    .action(async (options: TopOptions) => {
      const screen = options.json !== true && process.stdout.isTTY ? new Screen() : undefined;
      try {
        await keepLooking(options, screen);
      } finally {
        screen?.close();
      }
    });
}

async function keepLooking(options: TopOptions, screen: Screen | undefined): Promise<void> {
  let before: Look | undefined;
  for (let n = 1; ; n++) {
    const now = new Look(before);
    if (screen === undefined) print(options, now, () => `${n === 1 ? '' : '\n'}${now.text()}`);
    else screen.show(now.text());
    if (n === options.count) return;
    before = now;
    if (screen === undefined) await delay(options.interval * 1000);
    else if (await screen.isLeft(options.interval * 1000)) return;
  }
}

/** What there was at one moment. */
class Look {
  readonly time = new Date();
  readonly memory = memory();
  readonly segments: readonly Row[];
  readonly #versions: ReadonlyMap<string, number>;
  readonly #at = performance.now();

  constructor(before: Look | undefined) {
    const segments = allSegments();
    this.#versions = new Map(segments.flatMap(({ id, lock }) => (lock === null ? [] : [[`${id}`, lock.version]])));
    const rows = segments.map((segment) => rowOf(segment, this.#writesPerSecond(segment, before)));
    this.segments = rows.sort((a, b) => (b.writesPerSecond ?? 0) - (a.writesPerSecond ?? 0));
  }

  #writesPerSecond({ id, lock }: Segment, before: Look | undefined): number | null {
    if (before === undefined || lock === null) return null;
    const then = before.#versions.get(`${id}`);
    if (then === undefined) return null;
    const writes = Math.floor(lock.version / 2) - Math.floor(then / 2);
    return writes / ((this.#at - before.#at) / 1000);
  }

  text(): string {
    const head = ['NAME', 'KIND', 'SIZE', 'PEERS', 'LOCK', 'WRITES/S', 'WRITER', 'READERS', 'WAITING'];
    const rows = this.segments.map((row) => [
      clipped(printable(row.name), 40),
      row.kind,
      bytesInWords(row.memoryBytes),
      row.lock === null ? none : row.peers,
      stateInWords(row.lock),
      row.writesPerSecond === null ? none : Math.round(row.writesPerSecond),
      row.writers.map((pid) => pid ?? '?').join(', ') || none,
      row.readers || none,
      row.waiting || none,
    ]);
    const summary = `${countInWords(rows.length, 'segment')}; ${memoryInWords()}`;
    return [style.bold(summary), table(head, rows)].filter((part) => part !== '').join('\n');
  }
}

function rowOf(segment: Segment, writesPerSecond: number | null): Row {
  const { name, allocatedBytes, peers, lock, primitive } = segment;
  const waits = ({ waitsFor }: { waitsFor: string | null }): boolean => waitsFor !== null;
  return {
    name,
    kind: kindOf(segment),
    memoryBytes: allocatedBytes,
    peers: peers.length,
    lock: lock?.state ?? null,
    writesPerSecond,
    writers: peers.filter(({ holds }) => holds === 'write').map(({ pid }) => pid),
    readers: peers.filter(({ holds }) => holds === 'read').length,
    waiting: peers.filter(waits).length + (primitive?.claims.filter(waits).length ?? 0),
  };
}
