import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { binding } from '../../binding';
import type { CodedError } from '../../errors';
import { type PeerInfo, stat } from '../../index';
import { nameOf } from '../names';
import { wholeNumberFrom } from '../options';
import { note, type OutputOptions, print } from '../output';
import { kindOf, type Segment, shapeInWords, withPrimitive } from '../segments';
import { bytesInWords, countInWords, printable } from '../words';

interface WatchOptions extends OutputOptions {
  readonly interval: number;
  readonly count?: number;
}

/** What happened, and what is to be known of it: with --json as keys, else as text. */
interface Change {
  readonly event: string;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly text: string;
}

export function define(command: Command): void {
  command
    .argument('<name>', 'of a segment; it need not exist yet')
    .option('--interval <milliseconds>', 'time between two looks', wholeNumberFrom(1, 86_400_000), 50)
    .option('--count <events>', 'end after as many', wholeNumberFrom(1))
    .addHelpText('after', '\nTells of what is written under the lock. What is over between two looks is not seen.')
    .action(async (given: string, options: WatchOptions) => {
      const name = nameOf(given);
      let count = 0;
      for await (const change of changesOf(name, options.interval)) {
        const time = new Date();
        print(options, { time, event: change.event, name, ...change.facts }, () =>
          `${clock(time)}  ${change.event.padEnd(9)} ${change.text}`.trimEnd(),
        );
        count += 1;
        if (count === options.count) return;
      }
    });
}

/** Local time, to the millisecond. */
const clock = (time: Date): string =>
  `${time.toTimeString().slice(0, 8)}.${String(time.getMilliseconds()).padStart(3, '0')}`;

async function* changesOf(name: string, intervalMs: number): AsyncGenerator<Change> {
  let before = look(name);
  if (before === undefined) note(`'${printable(name)}' does not exist yet: waiting for it`);
  else yield { event: 'exists', ...described(before) };
  for (;;) {
    await delay(intervalMs);
    const now = look(name);
    yield* changesBetween(before, now);
    before = now;
  }
}

interface Look extends Segment {
  readonly inode: number;
}

/** Undefined = there is none. */
function look(name: string): Look | undefined {
  try {
    return { ...withPrimitive(stat(name)), inode: lstatSync(join(binding.layout.directory, name)).ino };
  } catch (error) {
    if ((error as CodedError).code === 'ENOENT') return undefined;
    throw error;
  }
}

function* changesBetween(before: Look | undefined, now: Look | undefined): Generator<Change> {
  if (now === undefined) {
    if (before !== undefined) yield { event: 'removed', facts: {}, text: '' };
    return;
  }
  if (before === undefined) {
    yield { event: 'appeared', ...described(now) };
    return;
  }
  if (isAnother(before, now)) {
    yield { event: 'replaced', ...described(now) };
    return;
  }
  yield* peerChanges(before.peers, now.peers);
  yield* contentChanges(before, now);
}

/** Inodes are used again; ids are not. */
const isAnother = (before: Look, now: Look): boolean =>
  before.id !== null && now.id !== null ? before.id !== now.id : before.inode !== now.inode;

function described(segment: Look): Pick<Change, 'facts' | 'text'> {
  const { dtype, shape, fileBytes, id } = segment;
  const kind = kindOf(segment);
  const version = segment.lock?.version ?? null;
  const array = dtype === null || segment.primitive !== null ? '' : ` ${dtype} ${shapeInWords(shape)}`;
  return { facts: { kind, dtype, shape, fileBytes, id, version }, text: `${kind}${array} ${bytesInWords(fileBytes)}` };
}

function* peerChanges(before: readonly PeerInfo[], now: readonly PeerInfo[]): Generator<Change> {
  const known = new Map(before.map((peer) => [keyOf(peer), peer]));
  const present = new Map(now.map((peer) => [keyOf(peer), peer]));
  for (const [key, peer] of known) if (!present.has(key)) yield ofPeer('detached', peer);
  for (const [key, peer] of present) if (!known.has(key)) yield ofPeer('attached', peer);
}

const keyOf = ({ slot, pid, tid, attachedAt }: PeerInfo): string => [slot, pid, tid, attachedAt?.getTime()].join(' ');

const ofPeer = (event: string, { pid, mode }: PeerInfo): Change => ({
  event,
  facts: { pid, mode },
  text: pid === null ? 'those who may only read' : `process ${pid}, mode ${mode}`,
});

function* contentChanges(before: Look, now: Look): Generator<Change> {
  if (now.fileBytes !== before.fileBytes) {
    const { fileBytes } = now;
    yield { event: 'resized', facts: { fileBytes }, text: bytesInWords(fileBytes) };
  }
  if (now.lock !== null) {
    const writes = Math.floor(now.lock.version / 2) - Math.floor((before.lock?.version ?? 0) / 2);
    const { version } = now.lock;
    if (writes > 0) {
      yield {
        event: 'written',
        facts: { version, writes },
        text: `version ${version}, ${countInWords(writes, 'write')}`,
      };
    }
    if (now.lock.state === 'abandoned' && before.lock?.state !== 'abandoned') {
      yield { event: 'abandoned', facts: { version }, text: 'a writer died inside' };
    }
  } else if (now.modifiedAt.getTime() !== before.modifiedAt.getTime()) {
    // As far as the kernel tells: not what is written through a mapping.
    yield { event: 'written', facts: { modifiedAt: now.modifiedAt }, text: '' };
  }
  const facts = changedFacts(before, now);
  if (facts.length > 0) {
    const text = facts.map(([fact, value]) => `${fact} ${value}`).join(', ');
    yield { event: 'changed', facts: { facts: Object.fromEntries(facts) }, text: printable(text) };
  }
}

const changedFacts = ({ primitive: before }: Look, { primitive: now }: Look) =>
  Object.entries(now?.facts ?? {}).filter(([fact, value]) => value !== before?.facts[fact]);
