import type { CodedError } from '../../errors';
import { openTensors } from '../../index';
import { statNamed } from '../names';
import { type Who, whoUses } from '../peers';
import { type Segment, withPrimitive } from '../segments';
import { lookIntoStore } from '../stores';

/** What is looked up for one segment alone, since it costs more than the list of all may cost. */
export interface Details {
  readonly who: Who;
  /** Of a file of tensors: their names. */
  readonly tensors: readonly string[] | null;
  readonly store: ReturnType<typeof lookIntoStore> | null;
  /** Why there is less of it than there should be. */
  readonly problem: string | null;
}

/** Errors: ENOENT. */
export function detailsOf(name: string): Details {
  const segment = withPrimitive(statNamed(name));
  return { who: whoUses(segment), tensors: null, store: null, problem: null, ...inside(segment) };
}

function inside({ name, kind, primitive }: Segment): Partial<Details> {
  try {
    if (kind === 'tensors') return { tensors: tensorsIn(name) };
    if (primitive?.kind === 'Store') return { store: lookIntoStore(name) };
    return {};
  } catch (error) {
    return { problem: (error as CodedError).message };
  }
}

function tensorsIn(name: string): string[] {
  const file = openTensors(name, { names: [] });
  try {
    return [...file.names];
  } finally {
    file.close();
  }
}
