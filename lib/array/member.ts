import { binding } from '../binding';
import { failureError, rangeError, typeError } from '../errors';
import { checkName } from '../options';
import { reap } from './directory';
import type { NpyHeader } from './npy';
import { checkExtent, headerOf, type OpenedFile } from './segment-file';
import { SharedArray } from './shared-array';

// Members are segments that belong to another one, their parent: it is named in their control block by its id, and in
// their name by all but the last two components.

export interface Membership {
  readonly name: string;
  /** The parent's id. */
  readonly memberOf: string;
}

const labelPattern = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** What a member of `parent` is called. */
export function membership(parent: SharedArray, label: string): Membership {
  const attachment = SharedArray.attachmentOf(parent);
  attachment.check();
  const { spec, id } = attachment;
  if (spec.name === null || id === null) {
    throw typeError('ERR_NDSHM_ANONYMOUS', 'Only a named array made by ndshm can have members');
  }
  if (!labelPattern.test(label)) {
    throw rangeError('ERR_NDSHM_INVALID_NAME', `Expected two components for a member’s label but received '${label}'`);
  }
  return { name: checkName(`${spec.name}.${label}`), memberOf: id };
}

export interface MemberFile {
  readonly header: NpyHeader;
  /** The id of its parent; null = it is no member. */
  readonly memberOf: string | null;
}

/** What an opened file is, checked against its size. */
export function describeMember(file: OpenedFile, name: string): MemberFile {
  const header = headerOf(file, name);
  const { spec, dataOffset, dataBytes } = header;
  checkExtent(name, spec, dataOffset, dataBytes, file.facts.size);
  const control = file.segment.control(dataOffset, dataBytes);
  if (control === undefined) return { header, memberOf: null };
  if ('status' in control) throw failureError(control, { directory: binding.layout.directory, name });
  return { header, memberOf: control[3] };
}

/** Takes the name away if it is that of an orphan; whether it was. */
export const removeOrphan = (name: string): boolean => reap(name);
