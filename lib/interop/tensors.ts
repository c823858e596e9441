import type { Complex, DType } from '../array/dtype';
import { specOf, specOfTypedArray } from '../array/dtype';
import { checkElements, type ElementsSpec } from '../array/elements-spec';
import { excerpt } from '../array/excerpt';
import { inferDType, type Nested, nestedShape } from '../array/nested';
import { type OpenOptions, openRaw } from '../array/open';
import { SharedArray } from '../array/shared-array';
import { rangeError, typeError, wrongKind } from '../errors';
import { checkOptions, type Mode } from '../options';
import { checkNaming, type PutOptions, publishFile, putKeys } from './plain-file';
import { dtypeOf, layOutTensors, nameOfDType, readTensorsHeader, type TensorPlace } from './safetensors';

export interface PutTensorsOptions extends PutOptions {
  /** Texts by their names, which go along. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Whatever fromArray() takes. Typed arrays are tensors of one dimension. */
export type TensorSource = SharedArray | ArrayBufferView | Nested<number | bigint | boolean | Complex>;

/**
 * Puts arrays into shared memory under one name, as a safetensors file: a copy, in C order, complete before it has its
 * name. Every library that reads such files maps it as it is: `safetensors.torch.load_file('/dev/shm/NAME')`. It has no
 * lock, and stays until unlink(). Blocks while it copies.
 * Errors: EEXIST, ENOSPC, ERR_NDSHM_INVALID_NAME, ERR_NDSHM_INVALID_ARGUMENT, ERR_NDSHM_SHAPE, ERR_NDSHM_OUT_OF_RANGE
 * for names and metadata that are not Unicode, ERR_NDSHM_DTYPE for complex128, which the format does not know.
 * Source of the format: https://github.com/huggingface/safetensors
 * @example
 * ndshm.putTensors('model', { w: [[1, 2], [3, 4]], b: new Float32Array(2) }, { metadata: { epoch: '3' } });
 * ndshm.unlink('model');
 */
export function putTensors(
  name: string,
  tensors: Readonly<Record<string, TensorSource>>,
  options?: PutTensorsOptions,
): void {
  const { metadata, ...put } = checkOptions(options, ['metadata', ...putKeys], 'putTensors()');
  const naming = checkNaming(name, put);
  if (typeof tensors !== 'object' || tensors === null || Array.isArray(tensors) || ArrayBuffer.isView(tensors)) {
    throw wrongKind('an object of arrays by their names', 'the tensors', tensors);
  }
  if (metadata !== undefined) checkMetadata(metadata);
  const sources = Object.entries(tensors).map(([key, source]) => ({ key, source, ...elementsOf(key, source) }));
  const { head, byteOffsets, fileBytes } = layOutTensors(
    sources.map(({ key, spec, shape }) => ({
      name: key,
      dtype: storedDType(key, spec.name),
      itemBytes: spec.itemBytes,
      shape,
    })),
    metadata,
  );
  publishFile(naming, fileBytes, (bytes) => {
    bytes.set(head);
    sources.forEach(({ key, source, spec, shape }, index) => {
      const memory = {
        buffer: bytes.buffer as ArrayBuffer,
        byteOffset: byteOffsets[index] as number,
        faulted: () => false,
      };
      excerpt({ ...memory, who: whoOf(key, name) }, { dtype: spec.name, shape, order: 'C', mode: 'r+' }).copyFrom(
        source,
      );
    });
  });
}

const whoOf = (key: string, name: string): string => `'${key}' of '${name}'`;

function checkMetadata(metadata: unknown): void {
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
    throw wrongKind('an object of strings', 'metadata', metadata);
  }
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') throw wrongKind('a string', `metadata '${key}'`, value);
    if (!key.isWellFormed() || !value.isWellFormed()) {
      throw rangeError('ERR_NDSHM_OUT_OF_RANGE', `The metadata ${JSON.stringify(key)} are not Unicode`);
    }
  }
}

function elementsOf(key: string, source: unknown): ElementsSpec {
  if (key === '__metadata__' || !key.isWellFormed()) {
    throw rangeError('ERR_NDSHM_OUT_OF_RANGE', `A tensor cannot be called ${JSON.stringify(key)}`);
  }
  if (source instanceof SharedArray) return checkElements(source.shape, source.dtype, 'C');
  const typed = specOfTypedArray(source);
  if (typed !== undefined) return checkElements((source as Uint8Array).length, typed.name, 'C');
  if (source === undefined || (typeof source === 'object' && !Array.isArray(source))) {
    throw wrongKind('a SharedArray, a typed array or nested arrays', `the tensor '${key}'`, source);
  }
  const shape = nestedShape(source);
  return checkElements(shape, inferDType(source, shape), 'C');
}

function storedDType(key: string, dtype: DType): string {
  const stored = nameOfDType(dtype);
  if (stored !== undefined) return stored;
  throw typeError('ERR_NDSHM_DTYPE', `The safetensors format knows no ${dtype}, which '${key}' has; convert it first`);
}

export interface OpenTensorsOptions extends OpenOptions {
  /** Which of the tensors. Default: all. */
  readonly names?: readonly string[];
}

/**
 * Opens a safetensors file in /dev/shm, whoever put it there, as arrays by their names: views on one mapping of the file,
 * nothing is copied. They have no locks; what is stored in mode 'r+' is there for everybody at once. The mapping ends with
 * close(), or is collected with the last of the arrays. Does not block.
 * Errors: ENOENT, EACCES, ERR_NDSHM_FORMAT, ERR_NDSHM_FOREIGN_OWNER, ERR_NDSHM_TOO_LARGE; ERR_NDSHM_DTYPE for a tensor of a
 * dtype that has no like here (BF16, F8_E4M3 …) and ERR_NDSHM_ALIGNMENT for one that begins at an odd place: `names` leaves
 * it out; ERR_NDSHM_OUT_OF_RANGE if there is none of a name.
 * @example
 * ndshm.putTensors('model', { w: [[1, 2], [3, 4]], b: new Float32Array(2) });
 * const model = ndshm.openTensors('model');
 * console.log(model.tensors.w.get(1, 0)); // 3
 * model.close();
 * ndshm.unlink('model');
 */
export function openTensors(name: string, options?: OpenTensorsOptions): SharedTensors {
  const { names, ...open } = checkOptions(options, ['names', 'mode', 'allowForeignOwner'], 'openTensors()');
  if (names !== undefined && !Array.isArray(names)) throw wrongKind('an array of strings', 'names', names);
  const file = openRaw(name, { ...open, dtype: 'uint8' });
  try {
    return new SharedTensors(file, names);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** An open safetensors file. Made by openTensors(). */
export class SharedTensors {
  readonly name: string;
  readonly mode: Mode;
  /** Of all tensors in the file, in the order of their data. */
  readonly names: readonly string[];
  /** Those that were asked for, by their names. */
  readonly tensors: Readonly<Record<string, SharedArray>>;
  /** What was given to putTensors(). */
  readonly metadata: Readonly<Record<string, string>>;
  readonly #file: SharedArray<'uint8'>;

  /** @internal */
  constructor(file: SharedArray<'uint8'>, wanted: readonly unknown[] | undefined) {
    this.name = file.name as string;
    this.mode = file.mode;
    this.#file = file;
    const { places, metadata } = readTensorsHeader(file.data, this.name);
    this.names = Object.freeze([...places.keys()]);
    this.metadata = metadata;
    const tensors = Object.create(null) as Record<string, SharedArray>;
    for (const key of wanted ?? this.names) {
      const place = typeof key === 'string' ? places.get(key) : undefined;
      if (place === undefined) throw this.#unknown(key);
      tensors[key as string] = this.#arrayAt(key as string, place);
    }
    this.tensors = Object.freeze(tensors);
  }

  #unknown(key: unknown): Error {
    if (typeof key !== 'string') return wrongKind('a string', 'a name in names', key);
    const known = this.names.slice(0, 20).join(', ') + (this.names.length > 20 ? ', …' : '');
    return rangeError(
      'ERR_NDSHM_OUT_OF_RANGE',
      `'${this.name}' has no tensor ${JSON.stringify(key)}; it has: ${known}`,
    );
  }

  #arrayAt(key: string, { dtype: stored, shape, byteOffset }: TensorPlace): SharedArray {
    const dtype = dtypeOf(stored);
    const who = whoOf(key, this.name);
    if (dtype === undefined) {
      throw typeError(
        'ERR_NDSHM_DTYPE',
        `${who} is of dtype ${stored}, which has no like here; leave it out by the option names, or look at its bytes: openRaw('${this.name}', { dtype: 'uint8', byteOffset: ${byteOffset} })`,
      );
    }
    const { itemBytes, lanes } = specOf(dtype);
    if (byteOffset % (itemBytes / lanes) !== 0) {
      throw rangeError(
        'ERR_NDSHM_ALIGNMENT',
        `${who} begins at byte ${byteOffset}, which is no multiple of its elements’ size; leave it out by the option names`,
      );
    }
    const attachment = SharedArray.attachmentOf(this.#file);
    const buffer = this.#file.data.buffer as ArrayBuffer;
    const memory = { buffer, byteOffset, faulted: () => attachment.faulted, who };
    return excerpt(memory, { dtype, shape, order: 'C', mode: this.mode });
  }

  get closed(): boolean {
    return this.#file.closed;
  }

  /** Unmaps the file: all its arrays are closed, and have length 0 from now on. May be called again. */
  close(): void {
    for (const array of Object.values(this.tensors)) array.close();
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
