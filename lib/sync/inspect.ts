import type { NpyHeader } from '../array/npy';
import { livingPeers } from '../array/peers';
import { headerOf, isOpened, type OpenedFile, openFile } from '../array/segment-file';
import { binding } from '../binding';
import { failureError } from '../errors';
import { checkName } from '../options';
import { describeBarrier } from './barrier';
import { describeCondition } from './condition';
import { describeEvent } from './event';
import { Ledger } from './ledger';
import { describeLockManager, lockTableSpec } from './lock-table';
import { elementsIn } from './named-state';
import { describeQueue } from './queue';
import { describeSemaphore } from './semaphore';
import type { Claim, Description, Still } from './still';
import { describeValue } from './value';
import { Waiters } from './waiters';

const { layout } = binding;
const plain = (): Description => ({ facts: {}, claims: [] });
/** Of what has pages of its own: how many there may be. */
const ofPages = ({ parameters }: Still): Description => ({
  facts: { capacityBytes: (parameters[0] as number) * layout.pageBytes },
  claims: [],
});

/** With how many words each needs. */
const describers = {
  Mutex: [0, plain], // the segment's lock is all there is to it
  RWLock: [0, plain],
  Semaphore: [1 + Ledger.words, describeSemaphore],
  Condition: [Waiters.words, describeCondition],
  Event: [1, describeEvent],
  Barrier: [1 + Ledger.words, describeBarrier],
  Value: [2, describeValue],
  Queue: [3, describeQueue],
  LockManager: [lockTableSpec.size().words, describeLockManager],
  Store: [0, ofPages],
  ArrayTable: [0, ofPages],
} satisfies Readonly<Record<string, readonly [number, (still: Still) => Description]>>;

export type PrimitiveKind = keyof typeof describers;

export interface PrimitiveInfo {
  readonly kind: PrimitiveKind;
  /** By kind: what it was made with, and what it is like now. Bytes, items, permits. */
  readonly facts: Readonly<Record<string, string | number | boolean | null>>;
  /** What peers have of it or wait for, as slots of stat().peers; the segment's lock is told there. */
  readonly claims: readonly Claim[];
}

/** No primitive has more: a lock manager's words and names. A queue's items are not looked at. */
const mostBytes = 2 ** 20;

/**
 * Which named primitive (or store, or table of arrays) is under this name, and what it is like now; null for any other
 * array or file. Attaches nothing, takes no lock and changes nothing, so it tells of one in use what was so a moment ago.
 * Errors: ENOENT, EACCES, ERR_NDSHM_INVALID_NAME.
 * @example
 * const permits = new ndshm.Semaphore('demo-permits', { value: 3, ephemeral: true });
 * permits.tryAcquire();
 * console.log(ndshm.inspect('demo-permits').facts.value); // 2
 * permits.close();
 */
export function inspect(name: string): PrimitiveInfo | null {
  const file = openFile(checkName(name), false);
  if (!isOpened(file)) throw failureError(file, { directory: layout.directory, name });
  try {
    return describe(file, name);
  } finally {
    file.segment.close(null);
  }
}

function describe(file: OpenedFile, name: string): PrimitiveInfo | null {
  const all = elementsOf(file, name);
  const found = all === undefined ? undefined : elementsIn(all.elements);
  if (all === undefined || found === undefined || !Object.hasOwn(describers, found.kind)) return null;
  const kind = found.kind as PrimitiveKind;
  const [leastWords, describer] = describers[kind];
  if (found.words.length < leastWords) return null;
  const { segment } = file;
  const living = new Set(
    livingPeers(segment, all.dataOffset, all.dataBytes, name).map(
      ([slot, , , , , generation]) => `${slot} ${generation}`,
    ),
  );
  const still: Still = {
    ...found,
    name,
    me: { slot: -1, generation: 0 },
    isDead: ({ slot, generation }) => !living.has(`${slot} ${generation}`),
  };
  return { kind, ...describer(still) };
}

/** Undefined = what no primitive is: no array, not of int32, without a control block, or shorter than it says. */
function elementsOf(
  file: OpenedFile,
  name: string,
): { elements: Int32Array; dataOffset: number; dataBytes: number } | undefined {
  let header: NpyHeader;
  try {
    header = headerOf(file, name);
  } catch {
    return undefined;
  }
  const { spec, shape, dataOffset, dataBytes } = header;
  if (spec.name !== 'int32' || shape.length !== 1) return undefined;
  const control = file.segment.control(dataOffset, dataBytes);
  if (control === undefined || 'status' in control) return undefined;
  const bytes = new Uint8Array(Math.min(dataBytes, mostBytes));
  if (file.segment.read(bytes, dataOffset) !== bytes.length) return undefined;
  return { elements: new Int32Array(bytes.buffer), dataOffset, dataBytes };
}
