import { TaskError, type Thrown } from './failures';
import type { Give } from './imap';
import type { PayloadStore } from './payload-store';
import type { Outcome, Result } from './task';

export interface OpenResult {
  readonly values: readonly unknown[];
  readonly failures: readonly (readonly [item: number, thrown: Thrown])[];
}

/** What a task gave, one value or failure for each item. */
export function openResult({ payload, hasFailures }: Result, memory: PayloadStore): OpenResult {
  const read = memory.read(payload);
  if (!hasFailures) return { values: read as unknown[], failures: [] };
  const [values, failures] = read as [unknown[], [number, Thrown][]];
  return { values, failures };
}

/** openResult(), after which nothing of it is stored. What was read stays. */
export function takeResult(result: Result, memory: PayloadStore): OpenResult {
  try {
    return openResult(result, memory);
  } finally {
    if ('object' in result.payload) memory.delete(result.payload);
  }
}

/** Of the one call that a task was. */
export function onlyValue({ values, failures: [failure] }: OpenResult): unknown {
  if (failure !== undefined) throw new TaskError(failure[1]);
  return values[0];
}

/** Of each of so many items, what gives its value or throws what it failed with. */
export function giversOf(outcome: Outcome, count: number, firstIndex: number, memory: PayloadStore): Give<unknown>[] {
  try {
    if ('error' in outcome) throw outcome.error;
    const { values, failures } = takeResult(outcome.result, memory);
    const thrown = new Map(failures);
    return Array.from({ length: count }, (_, item) => {
      const failure = thrown.get(item) ?? (item < values.length ? undefined : failures.at(-1)?.[1]);
      if (failure === undefined) return () => values[item];
      return () => {
        throw new TaskError(failure, firstIndex + item);
      };
    });
  } catch (error) {
    const giveUp = () => {
      throw error;
    };
    return new Array<Give<unknown>>(count).fill(giveUp);
  }
}
