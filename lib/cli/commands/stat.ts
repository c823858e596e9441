import type { Command } from 'commander';
import { list } from '../../index';
import { statNamed } from '../names';
import { type OutputOptions, print } from '../output';
import { ownerInWords } from '../owners';
import { kindOf, type Segment, shapeInWords, stateInWords, withPrimitive } from '../segments';
import { ageInWords, bytesInWords, countInWords, permissionsInWords, printable } from '../words';

export function define(command: Command): void {
  command.argument('<name>', 'of a segment').action((name: string, options: OutputOptions) => {
    const segment = withPrimitive(statNamed(name));
    const members = list({ leftovers: true }).flatMap((each) => (each.memberOf === segment.name ? [each.name] : []));
    print(options, { ...segment, members }, () => linesOf([...about(segment), ...listed('members', members)]));
  });
}

type Line = readonly [what: string, value: string];

const listed = (what: string, names: readonly string[]): Line[] =>
  names.length === 0 ? [] : [[what, names.map(printable).join(', ')]];

function linesOf(lines: readonly Line[]): string {
  const width = Math.max(...lines.map(([what]) => what.length));
  return lines.map(([what, value]) => `${what.padEnd(width)}  ${value}`).join('\n');
}

function* about(segment: Segment): Generator<Line> {
  yield ['name', printable(segment.name)];
  yield ['kind', kindOf(segment)];
  if (segment.dtype !== null) yield ['dtype', segment.dtype];
  if (segment.shape !== null) yield ['shape', shapeInWords(segment.shape)];
  if (segment.order !== null) yield ['order', segment.order];
  if (segment.nbytes !== null) yield ['elements', exactly(segment.nbytes)];
  yield ['file', exactly(segment.fileBytes)];
  yield ['memory', exactly(segment.allocatedBytes)];
  yield ['owner', `${ownerInWords(segment.uid)} (${segment.uid})`];
  yield ['mode', `${permissionsInWords(segment.permissions)} (${segment.permissions.toString(8).padStart(4, '0')})`];
  if (segment.createdAt !== null) yield ['created', since(segment.createdAt)];
  yield ['modified', since(segment.modifiedAt)];
  if (segment.id !== null) yield ['id', segment.id];
  yield* ofLock(segment);
  for (const [fact, value] of Object.entries(segment.primitive?.facts ?? {})) {
    yield [wordsOf(fact), printable(String(value ?? 'none'))];
  }
  if (segment.memberOf !== null) yield ['member of', segment.memberOf];
  if (segment.leftover) yield ['leftover', 'yes: a crash left it, ndshm gc removes it'];
  if (segment.problem !== null) yield ['problem', printable(segment.problem.message)];
}

function* ofLock({ lock, peers, ephemeral }: Segment): Generator<Line> {
  if (lock === null) return;
  const pids = [...new Set(peers.map(({ pid }) => pid ?? 'unknown'))];
  yield ['lifetime', ephemeral ? 'ephemeral: until the last peer has left' : 'until it is removed'];
  yield ['peers', peers.length === 0 ? 'none' : `${peers.length}, of ${countInWords(pids.length, 'process')}`];
  yield ['lock', stateInWords(lock.state) + (lock.state === 'abandoned' ? ': a writer died inside' : '')];
  yield ['version', String(lock.version)];
}

const exactly = (bytes: number): string => (bytes < 1024 ? `${bytes} B` : `${bytes} B (${bytesInWords(bytes)})`);
const since = (time: Date): string => `${time.toISOString()} (${ageInWords(time)} ago)`;
/** 'maxItems' → 'max items'. */
const wordsOf = (key: string): string => key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
