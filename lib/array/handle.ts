import { stateError, typeError, wrongKind } from '../errors';
import { checkName, checkOptions, integerIn, type Mode, oneOf } from '../options';
import { type DType, specOf } from './dtype';
import { open, openRaw } from './open';
import { checkShape, type Order } from './shape';
import { SharedArray } from './shared-array';

/** What `array.handle` gives: plain JSON, the same for every process on the host. */
export interface ArrayHandle {
  /** Version of this description. */
  readonly ndshm: 1;
  readonly name: string;
  /** The segment's random id; null for a file that ndshm did not make. */
  readonly id: string | null;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly order: Order;
  /** For arrays of openRaw(): where the elements start in the file. */
  readonly rawByteOffset?: number;
  /** For views: their part of the array, in bytes. */
  readonly view?: {
    readonly shape: readonly number[];
    readonly strides: readonly number[];
    readonly byteOffset: number;
  };
}

export interface AttachOptions {
  /** Default 'r'. */
  readonly mode?: Mode;
  readonly allowForeignOwner?: boolean;
}

/**
 * Attaches the array that a handle describes, in any process on the same host (or container with the same /dev/shm).
 * A view's handle gives that view. Does not block, copies nothing.
 * Errors: ERR_NDSHM_STALE_HANDLE if the name means another segment by now, ENOENT if none, and those of open().
 * @example
 * const prices = ndshm.fromArray('prices', [1, 2, 3], { ephemeral: true });
 * const message = JSON.stringify(prices.slice('1:').handle); // by child.send, HTTP, argv …
 * const tail = ndshm.attach(JSON.parse(message));
 * console.log(tail.toNested()); // [2, 3]
 * tail.close();
 * prices.close();
 */
export function attach(handle: ArrayHandle, options?: AttachOptions): SharedArray {
  const checked = checkHandle(handle);
  const array = attachWhole(checked, checkOptions(options, ['mode', 'allowForeignOwner'], 'attach()'));
  if (checked.view === undefined) return array;
  try {
    // Nobody else knows the whole array.
    return viewOf(array, checked.view, true);
  } catch (error) {
    array.close();
    throw error;
  }
}

/** @internal The array that a checked handle describes, or describes a view of. */
export function attachWhole(handle: ArrayHandle, how: AttachOptions): SharedArray {
  const { name, id, dtype, shape, order, rawByteOffset } = handle;
  const array =
    rawByteOffset === undefined
      ? open(name, how)
      : openRaw(name, { ...how, dtype, shape, order, byteOffset: rawByteOffset });
  const { id: foundId, spec: found } = SharedArray.attachmentOf(array);
  const sameElements = found.spec.name === dtype && found.order === order && found.shape.join() === shape.join();
  if (foundId === id && sameElements) return array;
  array.close();
  throw stateError(
    'ERR_NDSHM_STALE_HANDLE',
    `'${name}' has been replaced since the handle was made; open('${name}') gives the new array`,
  );
}

/** @internal Throws ERR_NDSHM_INVALID_ARGUMENT unless the view lies within the array. */
export function viewOf(
  array: SharedArray,
  view: NonNullable<ArrayHandle['view']>,
  ownsAttachment: boolean,
): SharedArray {
  const { itemsize } = array;
  const geometry = {
    shape: checkShape(view.shape),
    steps: view.strides.map((stride) => stride / itemsize),
    offset: view.byteOffset / itemsize,
  };
  // A handle comes from anywhere: its view must lie within the array at both ends of every axis.
  let low = geometry.offset;
  let high = geometry.offset;
  geometry.shape.forEach((length, axis) => {
    const reach = Math.max(length - 1, 0) * (geometry.steps[axis] as number);
    if (reach < 0) low += reach;
    else high += reach;
  });
  const whole = [...geometry.steps, geometry.offset].every(Number.isSafeInteger);
  const empty = geometry.shape.includes(0);
  if (!whole || geometry.steps.length !== geometry.shape.length || (!empty && !(low >= 0 && high < array.size))) {
    throw typeError('ERR_NDSHM_INVALID_ARGUMENT', `The handle's view does not lie within '${array.name}'`);
  }
  return SharedArray.viewOf(array, geometry, ownsAttachment);
}

/** @internal With its shape as a list. */
export function checkHandle(handle: unknown): ArrayHandle {
  if (typeof handle !== 'object' || handle === null || (handle as ArrayHandle).ndshm !== 1) {
    throw wrongKind('a handle (array.handle)', 'attach()', handle);
  }
  const { name, id, dtype, shape, order, rawByteOffset, view } = handle as ArrayHandle;
  checkName(name);
  specOf(dtype);
  const lengths = checkShape(shape);
  oneOf(order, ['C', 'F'], "the handle's order");
  if (id !== null && typeof id !== 'string') throw wrongKind('a string or null', "the handle's id", id);
  if (rawByteOffset !== undefined) integerIn(rawByteOffset, 0, Number.MAX_SAFE_INTEGER, "the handle's rawByteOffset");
  if (view !== undefined && !(Array.isArray(view?.shape) && Array.isArray(view.strides))) {
    throw wrongKind('{ shape, strides, byteOffset }', "the handle's view", view);
  }
  return { ...(handle as ArrayHandle), shape: lengths };
}
