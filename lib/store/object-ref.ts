import { stateError, wrongKind } from '../errors';

/**
 * What put() gives: plain JSON, the same for every process on the host. It is not counted: the object lives until
 * somebody deletes it, or the store ends.
 */
export interface ObjectRef {
  /** Version of this description. */
  readonly ndshm: 1;
  readonly store: string;
  /** The random id of the store: another one of the same name is another store. */
  readonly storeId: string;
  readonly object: number;
  readonly generation: number;
}

/** Throws unless it is a ref of this store. What it refers to may be gone all the same. */
export function checkRef(ref: unknown, name: string, id: string): ObjectRef {
  const { ndshm, store, storeId, object, generation } = (typeof ref === 'object' && ref !== null ? ref : {}) as {
    [key in keyof ObjectRef]?: unknown;
  };
  const isIndex = (value: unknown) => Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;
  if (
    ndshm !== 1 ||
    typeof store !== 'string' ||
    typeof storeId !== 'string' ||
    !isIndex(object) ||
    !isIndex(generation)
  ) {
    throw wrongKind('an object ref, as put() gives it,', 'ref', ref);
  }
  if (storeId !== id) {
    throw stateError(
      'ERR_NDSHM_STALE_HANDLE',
      store === name
        ? `The object belonged to an earlier store '${name}', which has ended`
        : `The object belongs to the store '${store}', and this is '${name}'`,
    );
  }
  return ref as ObjectRef;
}
