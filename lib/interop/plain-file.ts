import { Attachment } from '../array/attachment';
import { existsError, isTaken } from '../array/create';
import { reapOnce } from '../array/directory';
import { checkElements } from '../array/elements-spec';
import { newSegment } from '../array/new-segment';
import { checkOwner, isOpened, openFile } from '../array/segment-file';
import { binding } from '../binding';
import { type FailureSubject, failureError, hasErrno } from '../errors';
import { booleanOption, checkName, oneOf } from '../options';

// Files of other people's formats in /dev/shm. What lies in them is nothing but that format: no header of ours, no peers,
// no lock.

/** What putTable() and putTensors() have in common. */
export interface PutOptions {
  /**
   * If the name exists: 'error' (default) throws EEXIST; 'replace' swaps it atomically: whoever has the old file open
   * keeps it, whoever opens the name from then on gets the new one, and at no moment is there none.
   */
  readonly ifExists?: 'error' | 'replace';
  /** Let 'replace' take the name from a segment of another user. Default false. */
  readonly allowForeignOwner?: boolean;
}

export const putKeys = ['ifExists', 'allowForeignOwner'] as const;

export interface Naming {
  readonly name: string;
  readonly replace: boolean;
  readonly allowForeignOwner: boolean;
}

export function checkNaming(name: unknown, { ifExists, allowForeignOwner }: PutOptions): Naming {
  return {
    name: checkName(name),
    replace: ifExists !== undefined && oneOf(ifExists, ['error', 'replace'], 'ifExists') === 'replace',
    allowForeignOwner: booleanOption(allowForeignOwner, 'allowForeignOwner'),
  };
}

/** A file of so many bytes, which are zeros until `fill` has written them; it gets its name when they are complete. */
export function publishFile(naming: Naming, byteLength: number, fill: (bytes: Uint8Array) => void): void {
  const { name, replace } = naming;
  const subject: FailureSubject = { directory: binding.layout.directory, name, wantedBytes: byteLength };
  reapOnce();
  refuseEarly(naming, subject);
  const segment = newSegment((made) => made.allocate(null, byteLength, 0, null, false, false, null), subject);
  const attachment = Attachment.ofNew(segment, {
    ...checkElements(byteLength, 'uint8', 'C'),
    name,
    mode: 'r+',
    dataOffset: 0,
    dataBytes: byteLength,
    raw: true,
  });
  try {
    fill(attachment.data() as Uint8Array);
    const failure = attachment.publish(name, replace);
    if (failure !== undefined) throw failureError(failure, subject);
  } finally {
    attachment.close();
  }
}

/** Before the work of filling; the link or rename at the end is what decides. */
function refuseEarly({ name, replace, allowForeignOwner }: Naming, subject: FailureSubject): void {
  const existing = openFile(name, false);
  if (isOpened(existing)) {
    existing.segment.close(null);
    if (!replace) throw existsError(name);
    checkOwner(name, existing.facts, allowForeignOwner);
  } else if (!hasErrno(existing, 'ENOENT')) {
    throw !replace && isTaken(existing) ? existsError(name) : failureError(existing, subject);
  }
}
