import type { Command } from 'commander';
import { statNamed } from '../names';
import { none, note, type OutputOptions, print, table } from '../output';
import { type Peer, type Who, whoUses } from '../peers';
import { type Segment, withPrimitive } from '../segments';
import { ageInWords, countInWords, printable } from '../words';

export function define(command: Command): void {
  command.argument('<name>', 'of a segment').action((given: string, options: OutputOptions) => {
    const segment = withPrimitive(statNamed(given));
    const { name, lock } = segment;
    const who = whoUses(segment);
    print(options, { name, lock, ...who }, () =>
      [drawnPeers(segment, who), drawnOthers(who)].filter((part) => part !== '').join('\n\n'),
    );
    if (options.json !== true) addNotes(segment, who);
  });
}

function addNotes({ lock }: Segment, { hiddenProcesses }: Who): void {
  if (lock?.state === 'abandoned') {
    note('The lock is abandoned: a writer died inside, and the data may be half-written');
  }
  if (hiddenProcesses > 0) {
    note(`${countInWords(hiddenProcesses, 'process')} of others may not be looked into, and may use it too`);
  }
}

function drawnPeers({ name, lock, problem }: Segment, { peers }: Who): string {
  if (problem !== null) return `Peers and lock cannot be told: ${printable(problem.message)}`;
  if (lock === null) return `'${printable(name)}' is not of ndshm's making: it has no peers and no lock`;
  if (peers.length === 0) return `Nobody is a peer of '${name}'`;
  return table(
    ['PID', 'THREAD', 'MODE', 'SINCE', 'DOES', 'COMMAND'],
    peers.map((peer) => [
      peer.process?.pid ?? peer.pid ?? none,
      peer.tid === null || peer.tid === peer.pid ? none : peer.tid,
      peer.mode,
      peer.attachedAt === null ? none : ageInWords(peer.attachedAt),
      doings(peer) || none,
      printable(peer.process?.command ?? '?'),
    ]),
  );
}

function doings({ holds, waitsFor, claims }: Peer): string {
  const ofLock = [
    ...(holds === null ? [] : [holds === 'write' ? 'writes' : 'reads']),
    ...(waitsFor === null ? [] : [`waits to ${waitsFor}`]),
  ];
  const ofPrimitive = claims.flatMap((claim) => [
    ...(claim.holds === null ? [] : [`holds ${claim.holds}`]),
    ...(claim.waitsFor === null ? [] : [`waits for ${claim.waitsFor}`]),
  ]);
  return printable([...ofLock, ...ofPrimitive].join(', '));
}

function drawnOthers({ others }: Who): string {
  if (others.length === 0) return '';
  const rows = others.map(({ pid, how, mode, command }) => [pid, how, mode, printable(command ?? '?')]);
  return `Processes that use it without being peers:\n${table(['PID', 'HOW', 'MODE', 'COMMAND'], rows)}`;
}
