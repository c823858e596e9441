import type { PeerInfo } from '../index';
import { type FileUser, processOf, usage } from './processes';
import type { Segment } from './segments';

/** Who uses a segment. */
export interface Who {
  readonly peers: readonly Peer[];
  /** Processes that use it without being peers. One whose peer cannot be told for certain is among them, too. */
  readonly others: readonly FileUser[];
  /** How many processes may not be looked into: they may use it as well. */
  readonly hiddenProcesses: number;
}

export interface Peer extends PeerInfo {
  /** Where it can be told for certain which process the peer is; its pid is the one that we see. */
  readonly process: Pick<FileUser, 'pid' | 'command'> | null;
  /** What it has of the primitive that the segment is, or waits for, beside the lock. */
  readonly claims: readonly { readonly holds: string | null; readonly waitsFor: string | null }[];
}

export function whoUses({ name, peers, primitive }: Segment): Who {
  const processes = usage();
  const users = processes.of(name);
  const told = peers.map((peer): Peer => {
    const user = processOf(peer, users);
    const claims = primitive?.claims.filter(({ slot }) => slot === peer.slot) ?? [];
    return {
      ...peer,
      process: user === undefined ? null : { pid: user.pid, command: user.command },
      claims: claims.map(({ holds, waitsFor }) => ({ holds, waitsFor })),
    };
  });
  const pids = new Set(told.map((peer) => peer.process?.pid));
  return { peers: told, others: users.filter(({ pid }) => !pids.has(pid)), hiddenProcesses: processes.hidden };
}
