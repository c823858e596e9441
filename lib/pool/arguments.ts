import type { Encoded } from '../codec/encode';
import { typeError } from '../errors';
import { isNumbers } from './lane';
import { encodePayload } from './payload';
import { isObjectRef, type Reference, type WithReferences } from './references';
import { type Argument, TaskRef } from './task-ref';

/** Whether an argument stands for something that is elsewhere. */
const isReference = (value: unknown): boolean => value instanceof TaskRef || isObjectRef(value);

/** `spread`: each item is a list of arguments. */
export const hasReferences = (items: readonly unknown[], spread: boolean): boolean =>
  items.some(spread ? (item) => (item as unknown[]).some(isReference) : isReference);

const isTaskRef = (value: unknown): value is TaskRef => value instanceof TaskRef;

/** Waits for the tasks whose results are among the arguments. Throws what one of them failed with. */
export async function resolveDependencies(items: readonly unknown[], spread: boolean): Promise<Resolved> {
  const refs = items.flatMap(
    spread ? (item) => (item as unknown[]).filter(isTaskRef) : (item) => (isTaskRef(item) ? [item] : []),
  );
  return new Map(await Promise.all(refs.map(async (ref) => [ref, await TaskRef.futureOf(ref).asArgument()] as const)));
}

/** What tasks have given; to be held on to until nobody needs it any more. */
export type Resolved = ReadonlyMap<TaskRef, Argument>;

/** Items with references among them. */
export function encodeReferring(items: readonly unknown[], spread: boolean, resolved: Resolved): Encoded {
  const references: Reference[] = [];
  const plain = (value: unknown, item: number, place: number): unknown => {
    if (isTaskRef(value)) {
      const argument = resolved.get(value) as Argument;
      if ('value' in argument) return argument.value;
      references.push([item, place, argument.stored]);
    } else if (isObjectRef(value)) references.push([item, place, value]);
    else return value;
    return null;
  };
  const values = items.map((item, n) =>
    spread ? (item as unknown[]).map((value, place) => plain(value, n, place)) : plain(item, n, -1),
  );
  return encodeItems([values, references] satisfies WithReferences);
}

/** Errors: those of encodePayload(); a TaskRef may only be an argument itself. */
export const encodeItems = (items: readonly unknown[]): Encoded => encodePayload(items, { instance: refuseTaskRef });

/** Without references among them. */
export const encodePlain = (items: readonly unknown[]): Encoded | readonly number[] =>
  isNumbers(items) ? items : encodeItems(items);

function refuseTaskRef(value: object, where: () => string): undefined {
  if (!(value instanceof TaskRef)) return undefined;
  throw typeError(
    'ERR_NDSHM_INVALID_ARGUMENT',
    `${where()} is a TaskRef, which only this process can follow; pass it as an argument of its own, or await it`,
  );
}
