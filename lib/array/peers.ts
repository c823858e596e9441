import { binding, type PeerRow, type Segment } from '../binding';
import { failureError } from '../errors';
import { type Mode, modes } from '../options';

// Who has a segment open and who is inside its lock, read from the file: nothing is attached, mapped or locked. The words
// are read one after the other while others change them, so they say what was so a moment ago.

const { layout } = binding;
const { bits, words } = layout;

/** One living attachment of a segment. */
export interface PeerInfo {
  /** Null for peers that may not write; they are counted as one. */
  readonly slot: number | null;
  readonly mode: Mode;
  /** As the peer itself sees it: in another pid namespace the number means another process. */
  readonly pid: number | null;
  readonly tid: number | null;
  readonly attachedAt: Date | null;
  /** As what it is inside of the segment's lock; as a writer also while it still waits for readers to leave. */
  readonly holds: 'read' | 'write' | null;
  /** For what access to the lock it sleeps. */
  readonly waitsFor: 'read' | 'write' | null;
}

/** What a segment's lock is doing. */
export interface LockState {
  /** 'abandoned': a writer died inside, and nobody has repaired the data yet. */
  readonly state: 'free' | 'read' | 'write' | 'abandoned';
  /** Grows by 2 with each completed write; odd while a writer is inside, or has died there. */
  readonly version: number;
}

/** Of the segment whose elements these are. */
export function livingPeers(segment: Segment, dataOffset: number, dataBytes: number, name: string): readonly PeerRow[] {
  const rows = segment.peers(dataOffset, dataBytes);
  if (!Array.isArray(rows)) throw failureError(rows, { directory: layout.directory, name });
  return rows;
}

export function lockAndPeers(
  segment: Segment,
  dataOffset: number,
  dataBytes: number,
  name: string,
): { lock: LockState; peers: PeerInfo[] } {
  const controlAt = Math.ceil((dataOffset + dataBytes) / layout.pageBytes) * layout.pageBytes;
  const { owner, version, diedInside } = lockWords(segment, controlAt, name);
  const rows = livingPeers(segment, dataOffset, dataBytes, name);
  const peers = rows.map((row) => peerInfo(row, owner));
  const holder = (access: 'read' | 'write') => peers.some(({ holds }) => holds === access);
  // A writer that is not among the living may have left properly before we asked who lives.
  const isAbandoned = () => {
    if (!diedInside) return false;
    const now = lockWords(segment, controlAt, name);
    return now.diedInside && now.version === version;
  };
  // Whoever lives and writes after a death is repairing.
  const state = holder('write') ? 'write' : isAbandoned() ? 'abandoned' : holder('read') ? 'read' : 'free';
  return { lock: { state, version }, peers };
}

/** `diedInside`: if the writer does not live. */
function lockWords(
  segment: Segment,
  controlAt: number,
  name: string,
): { owner: number; version: number; diedInside: boolean } {
  const page = Buffer.alloc(words.version + 8);
  const count = segment.read(page, controlAt);
  if (typeof count !== 'number') throw failureError(count, { directory: layout.directory, name });
  const writer = page.readUInt32LE(words.writer);
  const owner = (writer & bits.owner) - 1;
  const version = Number(page.readBigUInt64LE(words.version));
  return { owner, version, diedInside: (writer & bits.abandoned) !== 0 || (owner >= 0 && version % 2 === 1) };
}

function peerInfo([slot, mode, pid, tid, attachedAtMs, , readerFlag, waitingFor]: PeerRow, owner: number): PeerInfo {
  return {
    slot: slot < layout.peerSlots ? slot : null,
    mode: modes[mode - 1] ?? 'r',
    pid: pid === 0 ? null : pid,
    tid: tid === 0 ? null : tid,
    attachedAt: attachedAtMs === 0 ? null : new Date(attachedAtMs),
    holds: slot === owner ? 'write' : readerFlag === 1 && slot < layout.peerSlots ? 'read' : null,
    waitsFor: waitingFor === 1 ? 'read' : waitingFor === 2 ? 'write' : null,
  };
}
