import { type DType, specOfDescr } from '../array/dtype';
import { excerpt } from '../array/excerpt';
import { checkedByteLength, checkShape, type Order } from '../array/shape';
import { stateError } from '../errors';
import { bytesToTable } from './arrow';
import type { Special } from './document';
import { type BufferPlace, corrupt } from './object-format';

/** Where an object lies. */
export interface ObjectMemory {
  readonly bytes: Buffer;
  readonly buffers: readonly BufferPlace[];
  /** Whether pages of it were lost. */
  readonly faulted: () => boolean;
}

interface ViewClass {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer, byteOffset: number, length: number): ArrayBufferView;
}

const viewClasses: ReadonlyMap<unknown, ViewClass> = new Map(
  [
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
    ...(globalThis.Float16Array === undefined ? [] : [globalThis.Float16Array as ViewClass]),
  ].map((each) => [each.name, each as ViewClass]),
);

/** Makes the specials that show a buffer of the object: its number is their last part. */
export class BufferViews {
  readonly #memory: ObjectMemory;
  #spentBytes = 0;

  constructor(memory: ObjectMemory) {
    this.#memory = memory;
  }

  make(special: Special): unknown {
    const tag = special[0];
    const { bytes, buffers } = this.#memory;
    const number = special[special.length - 1];
    const place = typeof number === 'number' ? buffers[number] : undefined;
    if (place === undefined) throw corrupt('it has a special of an unknown kind, or of no buffer');
    const buffer = bytes.buffer as ArrayBuffer;
    const byteOffset = bytes.byteOffset + place.offset;
    const { byteLength } = place;
    const Class = viewClasses.get(tag);
    if (Class !== undefined) return new Class(buffer, byteOffset, elementsIn(byteLength, Class.BYTES_PER_ELEMENT));
    switch (tag) {
      case 'Buffer':
        return Buffer.from(buffer, byteOffset, byteLength);
      case 'DataView':
        return new DataView(buffer, byteOffset, byteLength);
      case 'ArrayBuffer':
        this.#spend(byteLength);
        return buffer.slice(byteOffset, byteOffset + byteLength);
      case 'Arrow':
        this.#spend(byteLength);
        return bytesToTable(new Uint8Array(buffer, byteOffset, byteLength));
      case 'ndarray':
        return this.#array(special, byteOffset, byteLength);
      case 'Float16Array':
        throw stateError(
          'ERR_NDSHM_UNSUPPORTED',
          `The object has a Float16Array, and this runtime (${process.version}) knows none; Node 24 does. A SharedArray of float16 can be had everywhere`,
        );
      default:
        throw corrupt('it has a special of an unknown kind');
    }
  }

  /** For what takes room by its length. That an object names one buffer a thousand times is not believed. */
  #spend(byteLength: number): void {
    this.#spentBytes += byteLength;
    if (this.#spentBytes > this.#memory.bytes.byteLength) throw corrupt('several copies in it are of one buffer');
  }

  #array([, descr, lengths, order]: Special, byteOffset: number, byteLength: number): unknown {
    if (typeof descr !== 'string' || (order !== 'C' && order !== 'F')) throw corrupt('it has a malformed array');
    const { name, itemBytes } = specOfDescr(descr);
    const shape = checkShape(lengths);
    if (checkedByteLength(shape, itemBytes) !== byteLength) throw corrupt('an array in it does not fill its buffer');
    const memory = {
      buffer: this.#memory.bytes.buffer as ArrayBuffer,
      byteOffset,
      faulted: this.#memory.faulted,
      who: 'The array in an object',
    };
    return excerpt(memory, { dtype: name as DType, shape, order: order as Order, mode: 'r' });
  }
}

function elementsIn(byteLength: number, itemBytes: number): number {
  if (byteLength % itemBytes !== 0) throw corrupt('a buffer in it is not a whole number of elements');
  return byteLength / itemBytes;
}
