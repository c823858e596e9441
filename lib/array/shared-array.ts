import { inspect } from 'node:util';
import { binding } from '../binding';
import { rangeError, typeError, wrongKind } from '../errors';
import { type SyncWaitOptions, syncWaitKeys, type WaitOptions, waitKeys } from '../lock/deadline';
import type {
  Hold,
  OnAbandonedRead,
  OnAbandonedWrite,
  ReadOptions,
  ReadSyncOptions,
  WriteOptions,
  WriteSyncOptions,
} from '../lock/hold';
import { checkOptions, type Mode } from '../options';
import type { Attachment } from './attachment';
import {
  type Data,
  type DType,
  type DTypeSpec,
  type Element,
  type ElementInput,
  specOf,
  specOfTypedArray,
} from './dtype';
import type { ArrayHandle } from './handle';
import { forEachLeaf, type Nested, nestedShape } from './nested';
import { formatArray, formatValues, type Printable } from './print';
import {
  checkIndex,
  contiguousSteps,
  forEachPosition,
  type Geometry,
  isContiguous,
  reshapeGeometry,
  type SliceItem,
  sizeOf,
  sliceGeometry,
} from './shape';

const { faults } = binding;

// Below 2^32, so that the check is one comparison of integers; larger indices take the long way.
const isIndex = (index: number | undefined, length: number): index is number =>
  typeof index === 'number' && index >>> 0 === index && index < length;

export interface ChangedOptions extends WaitOptions {
  /** A version that the caller knows. */
  readonly since?: number;
}

/**
 * An n-dimensional array over shared memory, with numpy's terms: shape, strides, dtype; slices, rows and transposes
 * are views on the same memory. Made by create(), open() and their like, never by `new`.
 *
 * Everything here works on the memory directly and without locks. Methods throw ERR_NDSHM_CLOSED after close(),
 * ERR_NDSHM_TRUNCATED once the file was truncated under the mapping, and those that write ERR_NDSHM_READ_ONLY in
 * mode 'r'.
 */
export class SharedArray<D extends DType = DType> implements Iterable<Element<D> | SharedArray<D>> {
  /** Length of each axis. */
  readonly shape: readonly number[];
  /** The array whose memory a view shows; null for an array that owns its attachment. */
  readonly base: SharedArray<D> | null;
  readonly #attachment: Attachment;
  readonly #spec: DTypeSpec;
  readonly #writable: boolean;
  readonly #steps: readonly number[];
  // What get() needs for up to three dimensions. TypeScript's `private` instead of #private, because these are stored
  // once, in the constructor: V8 then knows their types, and a loop over get() costs half of what it does otherwise or less.
  // Offsets and steps count typed-array entries, so that the hot path has no multiplication by lanes.
  private entries: Data;
  private readonly plain: boolean;
  private readonly offset: number;
  private readonly dimensions: number;
  private readonly length0: number;
  private readonly length1: number;
  private readonly length2: number;
  private readonly step0: number;
  private readonly step1: number;
  private readonly step2: number;
  private faultsSeen: number;
  readonly #ownsAttachment: boolean;
  #closed = false;

  /** @internal */
  constructor(attachment: Attachment, view?: { base: SharedArray<D>; geometry: Geometry; ownsAttachment: boolean }) {
    const { spec, shape, order } = attachment.spec;
    const geometry = view?.geometry ?? { shape, steps: contiguousSteps(shape, order), offset: 0 };
    this.#attachment = attachment;
    this.#spec = spec;
    this.plain = spec.plain;
    this.#writable = attachment.spec.mode !== 'r';
    this.entries = view === undefined ? attachment.data() : view.base.entries;
    this.offset = geometry.offset * spec.lanes;
    this.#steps = geometry.steps.map((step) => step * spec.lanes);
    this.shape = Object.freeze(geometry.shape.slice());
    this.dimensions = this.shape.length;
    this.length0 = this.shape[0] ?? 0;
    this.length1 = this.shape[1] ?? 0;
    this.length2 = this.shape[2] ?? 0;
    this.step0 = this.#steps[0] ?? 0;
    this.step1 = this.#steps[1] ?? 0;
    this.step2 = this.#steps[2] ?? 0;
    this.faultsSeen = attachment.faultsSeen;
    this.base = view?.base ?? null;
    this.#ownsAttachment = view?.ownsAttachment ?? true;
  }

  /** Name of the segment; null for an anonymous array. */
  get name(): string | null {
    return this.#attachment.spec.name;
  }
  get dtype(): D {
    return this.#spec.name as D;
  }
  /** 'r' read-only, 'r+' shared and writable, 'c' copy-on-write, as numpy.memmap has them. */
  get mode(): Mode {
    return this.#attachment.spec.mode;
  }
  get ndim(): number {
    return this.shape.length;
  }
  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }
  get itemsize(): number {
    return this.#spec.itemBytes;
  }
  /** Bytes of all elements, as if they lay next to each other. */
  get nbytes(): number {
    return this.size * this.#spec.itemBytes;
  }
  /** Bytes from one element to the next along each axis, as numpy has them; negative in reversed views. */
  get strides(): readonly number[] {
    return this.#geometry.steps.map((step) => step * this.#spec.itemBytes);
  }
  /** Where the first element lies in the segment's data, in bytes: 0 but for views. */
  get byteOffset(): number {
    return this.#geometry.offset * this.#spec.itemBytes;
  }
  get isCContiguous(): boolean {
    return isContiguous(this.shape, this.#geometry.steps, 'C');
  }
  get isFContiguous(): boolean {
    return isContiguous(this.shape, this.#geometry.steps, 'F');
  }
  get closed(): boolean {
    return this.#closed || this.#attachment.closed;
  }

  /** In elements. */
  get #geometry(): Geometry {
    const { lanes } = this.#spec;
    const steps = lanes === 1 ? this.#steps : this.#steps.map((step) => step / lanes);
    return { shape: this.shape, steps, offset: this.offset / lanes };
  }

  /**
   * A description from which attach() finds this array in any process on this host: plain JSON, some 150 bytes.
   * Errors: ERR_NDSHM_ANONYMOUS if it has no name.
   */
  get handle(): ArrayHandle {
    this.#check();
    const { name, spec, shape, order, raw, dataOffset } = this.#attachment.spec;
    if (name === null) {
      throw typeError(
        'ERR_NDSHM_ANONYMOUS',
        'An anonymous array has no handle; pass it to a child with fork({ share })',
      );
    }
    return {
      ndshm: 1,
      name,
      id: this.#attachment.id,
      dtype: spec.name,
      shape: [...shape],
      order,
      ...(raw ? { rawByteOffset: dataOffset } : {}),
      ...(this.base === null
        ? {}
        : { view: { shape: [...this.shape], strides: [...this.strides], byteOffset: this.byteOffset } }),
    };
  }

  /**
   * The elements as a typed array straight over the shared memory, in memory order (for Fortran order: the first
   * index varies fastest). Nothing is copied, and nothing is checked on access: a store through it in mode 'r' is
   * seen by this array alone. complex: re and im alternate. float16: bits, on runtimes without Float16Array.
   * A typed array got here has length 0 after close(). Errors: ERR_NDSHM_NOT_CONTIGUOUS for views with gaps.
   */
  get data(): Data<D> {
    this.#check();
    if (this.base === null) return this.entries as Data<D>;
    if (!this.isCContiguous && !this.isFContiguous) throw this.#notContiguous('.data');
    return this.entries.subarray(this.offset, this.offset + this.size * this.#spec.lanes) as Data<D>;
  }

  #notContiguous(what: string): TypeError {
    return typeError(
      'ERR_NDSHM_NOT_CONTIGUOUS',
      `${what} needs elements next to each other; this view of shape (${this.shape.join(', ')}) has strides (${this.strides.join(', ')}). Copy it first, or use get() and set()`,
    );
  }

  #check(): void {
    if (this.#closed || this.entries.length === 0 || faults[0] !== this.faultsSeen) this.#checkClosely();
  }

  #checkClosely(): void {
    // A view that was closed alone reports it as if its array had been.
    if (this.#closed && !this.#attachment.closed) throw this.#viewClosed();
    this.#attachment.check();
    this.faultsSeen = this.#attachment.faultsSeen;
  }

  #viewClosed(): Error {
    return Object.assign(new Error('This view has been closed'), { code: 'ERR_NDSHM_CLOSED' });
  }

  #checkWritable(): void {
    this.#check();
    if (!this.#writable) {
      throw typeError(
        'ERR_NDSHM_READ_ONLY',
        `${this.#attachment.who} is open in mode 'r'; open it in mode 'r+' to write for everybody or 'c' for yourself`,
      );
    }
  }

  #positionOf(index: readonly number[]): number {
    if (index.length !== this.ndim) {
      throw rangeError(
        'ERR_NDSHM_OUT_OF_RANGE',
        `Expected ${this.ndim} indices for an array of shape (${this.shape.join(', ')}) but received ${index.length}`,
      );
    }
    let at = this.offset;
    for (let axis = 0; axis < index.length; axis++) {
      at += checkIndex(index[axis], this.shape[axis] as number, axis) * (this.#steps[axis] as number);
    }
    return at;
  }

  /**
   * The element at an index: one whole number per axis, negative ones counting from the end. int64 and uint64 give
   * bigints, complex { re, im }, bool booleans. Errors: ERR_NDSHM_OUT_OF_RANGE.
   */
  get(...index: number[]): Element<D>;
  get(i?: number, j?: number, k?: number, ...more: number[]): Element<D> {
    const at = this.plain && more.length === 0 && faults[0] === this.faultsSeen ? this.place(i, j, k) : -1;
    if (at >= 0) {
      const value = this.entries[at];
      if (value !== undefined) return value as Element<D>; // undefined: closed
    }
    return this.#getClosely([i, j, k, ...more]);
  }

  /**
   * Where an element lies, for up to three plain indices, each in range; -1 for anything else, which is then looked at
   * closely. `undefined` stands for no index.
   */
  private place(i: number | undefined, j: number | undefined, k: number | undefined): number {
    const { dimensions } = this;
    if (dimensions === 2) {
      return isIndex(i, this.length0) && isIndex(j, this.length1) && k === undefined
        ? this.offset + i * this.step0 + j * this.step1
        : -1;
    }
    if (dimensions === 1) {
      return isIndex(i, this.length0) && j === undefined && k === undefined ? this.offset + i * this.step0 : -1;
    }
    return dimensions === 3 && isIndex(i, this.length0) && isIndex(j, this.length1) && isIndex(k, this.length2)
      ? this.offset + i * this.step0 + j * this.step1 + k * this.step2
      : -1;
  }

  #getClosely(given: readonly (number | undefined)[]): Element<D> {
    this.#check();
    const index = given.slice(0, Math.max(given.findLastIndex((each) => each !== undefined) + 1, 0)) as number[];
    return this.#spec.read(this.entries, this.#positionOf(index)) as Element<D>;
  }

  /**
   * Stores an element. Takes what get() returns; whole numbers also for int64 and uint64, numbers for complex.
   * Errors: ERR_NDSHM_INVALID_ARGUMENT for another kind of value, ERR_NDSHM_OUT_OF_RANGE for an index outside the
   * array or a value outside the dtype (integers never wrap around or lose a fraction), ERR_NDSHM_READ_ONLY.
   */
  set(index: number | readonly number[], value: ElementInput<D>): this {
    this.#checkWritable();
    let at = -1;
    if (typeof index === 'number') at = this.place(index, undefined, undefined);
    else if (index.length === this.dimensions) at = this.place(index[0], index[1], index[2]);
    if (at < 0) at = this.#positionOf(typeof index === 'number' ? [index] : index);
    this.#spec.write(this.entries, at, value);
    return this;
  }

  /** Stores one value in every element. Errors as for set(). */
  fill(value: ElementInput<D>): this {
    this.#checkWritable();
    const { lanes } = this.#spec;
    const one = this.#spec.over(new ArrayBuffer(this.#spec.itemBytes), 0, lanes);
    this.#spec.write(one, 0, value);
    const target = this.entries as Float64Array;
    const [first, second] = one as unknown as [number, number];
    if (lanes === 1 && (this.isCContiguous || this.isFContiguous)) {
      target.fill(first, this.offset, this.offset + this.size);
      return this;
    }
    forEachPosition(this.shape, this.#steps, this.offset, (at) => {
      target[at] = first;
      if (lanes === 2) target[at + 1] = second;
    });
    return this;
  }

  /**
   * Copies all elements from another array of the same shape, a typed array of the same length (in C order), or
   * nested arrays. Between dtypes each element is checked as in set(). Errors: ERR_NDSHM_SHAPE, and those of set();
   * the elements before a value that does not fit are stored already.
   */
  copyFrom(source: SharedArray | ArrayBufferView | Nested<unknown>): this {
    this.#checkWritable();
    if (source instanceof SharedArray) this.#copyFromArray(source);
    else if (ArrayBuffer.isView(source)) this.#copyFromTyped(source);
    else this.#copyFromNested(source);
    return this;
  }

  #expectShape(shape: readonly number[]): void {
    if (shape.length !== this.ndim || shape.some((length, axis) => length !== this.shape[axis])) {
      throw rangeError(
        'ERR_NDSHM_SHAPE',
        `Expected a source of shape (${this.shape.join(', ')}) but received (${shape.join(', ')})`,
      );
    }
  }

  #copyFromArray(source: SharedArray): void {
    source.#check();
    this.#expectShape(source.shape);
    const sameBuffer = source.entries.buffer === this.entries.buffer;
    const sameMemory = sameBuffer || this.#attachesTheSegmentOf(source);
    const sameType = source.#spec === this.#spec;
    const sameOrder = (this.isCContiguous && source.isCContiguous) || (this.isFContiguous && source.isFContiguous);
    if (sameType && sameOrder) {
      // set() knows that parts of one buffer may overlap, but not that two buffers may be one memory.
      const data = sameMemory && !sameBuffer ? source.data.slice() : source.data;
      (this.entries as Float64Array).set(data as Float64Array, this.offset);
      return;
    }
    // Through a copy where both show the same memory, or a reversed view would read what it has just overwritten.
    const from = sameMemory ? source.entries.slice() : source.entries;
    const positions: number[] = [];
    forEachPosition(source.shape, source.#steps, source.offset, (at) => positions.push(at));
    let n = 0;
    forEachPosition(this.shape, this.#steps, this.offset, (at) => {
      this.#spec.write(this.entries, at, source.#spec.read(from, positions[n++] as number));
    });
  }

  #attachesTheSegmentOf(source: SharedArray): boolean {
    return source.name === this.name && (this.name !== null || source.#attachment.id === this.#attachment.id);
  }

  #copyFromTyped(source: ArrayBufferView): void {
    const from = specOfTypedArray(source);
    if (from === undefined) throw wrongKind('a typed array', 'the source', source);
    const entries = source as Data;
    if (entries.length !== this.size * this.#spec.lanes) {
      throw rangeError(
        'ERR_NDSHM_SHAPE',
        `Expected a source of ${this.size * this.#spec.lanes} entries but received ${entries.length}`,
      );
    }
    // Entries of the same type need no check each; bytes do where they become booleans.
    const into = this.#entriesLike(from);
    if (into === undefined) {
      let n = 0;
      const { lanes } = this.#spec;
      const write = lanes === 1 ? this.#spec.write : specOf('float64').write;
      forEachPosition(this.shape, this.#steps, this.offset, (at) => {
        for (let lane = 0; lane < lanes; lane++) write(this.entries, at + lane, from.read(entries, n++));
      });
    } else if (this.isCContiguous) {
      into.set(entries as Float64Array, this.offset);
    } else {
      let n = 0;
      forEachPosition(this.shape, this.#steps, this.offset, (at) => {
        for (let lane = 0; lane < this.#spec.lanes; lane++) into[at + lane] = (entries as Float64Array)[n++] as number;
      });
    }
  }

  /** Our memory as entries of the source's type; undefined where they have to be converted. */
  #entriesLike(source: DTypeSpec): Float64Array | undefined {
    const { name, lanes, itemBytes } = this.#spec;
    const same =
      source.name === name ||
      (lanes === 2 && source.kind === 'float' && source.itemBytes === itemBytes / 2) ||
      (name === 'float16' && source.name === 'uint16'); // the bits, as `.data` has them where there is no Float16Array
    return same
      ? (source.over(this.entries.buffer, this.entries.byteOffset, this.entries.length) as Float64Array)
      : undefined;
  }

  #copyFromNested(source: unknown): void {
    this.#expectShape(nestedShape(source));
    const positions: number[] = [];
    forEachPosition(this.shape, this.#steps, this.offset, (at) => positions.push(at));
    let n = 0;
    forEachLeaf(source, this.shape, (leaf) => this.#spec.write(this.entries, positions[n++] as number, leaf));
  }

  /** A copy as arrays in arrays; a 0-d array gives its element. */
  toNested(): Nested<Element<D>> {
    this.#check();
    const build = (axis: number, at: number): Nested<Element<D>> => {
      if (axis === this.ndim) return this.#spec.read(this.entries, at) as Element<D>;
      const step = this.#steps[axis] as number;
      return Array.from({ length: this.shape[axis] as number }, (_, n) => build(axis + 1, at + n * step));
    };
    return build(0, this.offset);
  }

  /** A copy of the elements in C order, as a typed array in this process's own memory. */
  toTypedArray(): Data<D> {
    this.#check();
    if (this.isCContiguous) {
      return this.entries.slice(this.offset, this.offset + this.size * this.#spec.lanes) as Data<D>;
    }
    const { lanes } = this.#spec;
    const copy = this.#spec.over(new ArrayBuffer(this.nbytes), 0, this.size * lanes) as Float64Array;
    let n = 0;
    forEachPosition(this.shape, this.#steps, this.offset, (at) => {
      for (let lane = 0; lane < lanes; lane++) copy[n++] = (this.entries as Float64Array)[at + lane] as number;
    });
    return copy as Data<D>;
  }

  #view(geometry: Geometry, ownsAttachment = false): SharedArray<D> {
    this.#check();
    return new SharedArray<D>(this.#attachment, { base: this.base ?? this, geometry, ownsAttachment });
  }

  /**
   * A view by numpy's basic indexing, one item per axis: 'start:stop:step', a whole number (drops the axis), '...'
   * or null (adds an axis). Errors: ERR_NDSHM_OUT_OF_RANGE, ERR_NDSHM_INVALID_ARGUMENT.
   * @example
   * const a = ndshm.fromArray('a', [[1, 2, 3], [4, 5, 6]], { ephemeral: true });
   * console.log(a.slice(':', '::-1').toNested()); // [[3, 2, 1], [6, 5, 4]]
   * a.close();
   */
  slice(...items: SliceItem[]): SharedArray<D> {
    return this.#view(sliceGeometry(this.#geometry, items));
  }

  /** A view of entry i of the first axis: a[i] in numpy. */
  row(i: number): SharedArray<D> {
    if (this.ndim === 0) throw rangeError('ERR_NDSHM_OUT_OF_RANGE', 'A 0-dimensional array has no rows');
    return this.slice(i);
  }

  /**
   * A view of the same elements, in C order, under another shape; one length may be -1. Never copies.
   * Errors: ERR_NDSHM_SHAPE; ERR_NDSHM_NOT_CONTIGUOUS where numpy would have to copy.
   */
  reshape(shape: number | readonly number[]): SharedArray<D> {
    this.#check();
    const geometry = reshapeGeometry(this.#geometry, shape);
    if (geometry === undefined) throw this.#notContiguous(`reshape([${shape.toString()}])`);
    return this.#view(geometry);
  }

  /** A view with the axes reversed, or in the given order. */
  transpose(...axes: number[]): SharedArray<D> {
    const { shape, steps, offset } = this.#geometry;
    const order =
      axes.length === 0
        ? shape.map((_, axis) => axis).reverse()
        : axes.map((axis, n) => checkIndex(axis, this.ndim, n));
    if (order.length !== this.ndim || new Set(order).size !== this.ndim) {
      throw rangeError('ERR_NDSHM_SHAPE', `Expected each of ${this.ndim} axes once but received (${axes.join(', ')})`);
    }
    return this.#view({
      shape: order.map((axis) => shape[axis] as number),
      steps: order.map((axis) => steps[axis] as number),
      offset,
    });
  }

  /** Elements of a 1-d array, rows (views) of others. */
  *[Symbol.iterator](): IterableIterator<Element<D> | SharedArray<D>> {
    this.#check();
    if (this.ndim === 0) throw typeError('ERR_NDSHM_INVALID_ARGUMENT', 'A 0-dimensional array cannot be iterated');
    for (let n = 0; n < (this.shape[0] as number); n++) yield this.ndim === 1 ? this.get(n) : this.row(n);
  }

  /**
   * Runs a function alone: under the exclusive lock of the array's segment, which all its views and all processes
   * share. Resolves with the function's result, after it has settled and the lock is free again. Callers of one
   * attachment get in in the order of their calls. Does not block.
   *
   * The lock survives its owner: if a process is killed inside, the next one gets in within some 10 ms and is told
   * that the data may be half-written. If the function throws, the lock is let go, and what it has written stays.
   * Errors: ERR_NDSHM_TIMEOUT, ERR_NDSHM_ABANDONED, ERR_NDSHM_DEADLOCK (the caller runs inside read() or write() of
   * this segment already), ERR_NDSHM_NO_CONTROL, ERR_NDSHM_READ_ONLY, ERR_NDSHM_CLOSED (also if it is closed
   * meanwhile), ERR_NDSHM_CONTROL_CORRUPT; what `signal` aborts with.
   * @example
   * const counts = ndshm.create('counts', { shape: 2, dtype: 'int32', ephemeral: true });
   * await counts.write((array) => array.set(0, array.get(0) + 1));
   * counts.close();
   */
  async write<T>(fn: (array: this, hold: Hold) => T | PromiseLike<T>, options?: WriteOptions): Promise<T> {
    this.#checkLockWritable(fn);
    const checked = checkOptions(options, [...waitKeys, 'onAbandoned'], 'write()');
    return this.#attachment.lock.write(this, fn, checked);
  }

  /**
   * Runs a function under the shared lock: many readers at a time, and no writer. Otherwise as write(). Works in
   * every mode, but not for a user who may not write to the segment (ERR_NDSHM_READ_ONLY): use snapshot().
   */
  async read<T>(fn: (array: this, hold: Hold) => T | PromiseLike<T>, options?: ReadOptions): Promise<T> {
    this.#checkLock(fn);
    const checked = checkOptions(options, [...waitKeys, 'onAbandoned'], 'read()');
    return this.#attachment.lock.read(this, fn, checked);
  }

  /**
   * As write(), but blocks the thread while it waits. The function must not return a promise. Where nobody contends
   * this is some tens of nanoseconds. ERR_NDSHM_DEADLOCK if this thread holds the lock already, by whichever array.
   */
  writeSync<T>(fn: (array: this, hold: Hold) => T, options?: WriteSyncOptions): T {
    this.#checkLockWritable(fn);
    if (options !== undefined) checkOptions(options, [...syncWaitKeys, 'onAbandoned'], 'writeSync()');
    return this.#attachment.lock.writeSync(this, fn, options);
  }

  /** As read(), but blocks the thread while it waits. The function must not return a promise. */
  readSync<T>(fn: (array: this, hold: Hold) => T, options?: ReadSyncOptions): T {
    this.#checkLock(fn);
    if (options !== undefined) checkOptions(options, [...syncWaitKeys, 'onAbandoned'], 'readSync()');
    return this.#attachment.lock.readSync(this, fn, options);
  }

  /** Runs the function under the exclusive lock and returns its result; undefined if the lock is not to be had now. */
  tryWrite<T>(fn: (array: this, hold: Hold) => T, options?: OnAbandonedWrite): T | undefined {
    this.#checkLockWritable(fn);
    return this.#attachment.lock.tryWrite(this, fn, checkOptions(options, ['onAbandoned'], 'tryWrite()'));
  }

  /** Runs the function under the shared lock and returns its result; undefined if the lock is not to be had now. */
  tryRead<T>(fn: (array: this, hold: Hold) => T, options?: OnAbandonedRead): T | undefined {
    this.#checkLock(fn);
    return this.#attachment.lock.tryRead(this, fn, checkOptions(options, ['onAbandoned'], 'tryRead()'));
  }

  #checkLock(fn: unknown): void {
    this.#check();
    if (typeof fn !== 'function') throw wrongKind('a function', 'what runs under the lock', fn);
  }

  #checkLockWritable(fn: unknown): void {
    this.#checkLock(fn);
    if (this.mode !== 'r+') {
      throw typeError(
        'ERR_NDSHM_READ_ONLY',
        `${this.#attachment.who} is open in mode '${this.mode}', in which nothing is written for others; open it in mode 'r+'`,
      );
    }
  }

  /**
   * Runs a function that only reads, without any lock, and again if a writer was inside meanwhile, until it has seen
   * one consistent state: a seqlock's read. Resolves with its result. The function may run several times and may see
   * half-written data in the runs that do not count; it must be synchronous. Costs writers nothing. Works in every
   * mode, also for users who may only read. Does not block between the runs. Errors: ERR_NDSHM_TIMEOUT,
   * ERR_NDSHM_ABANDONED, ERR_NDSHM_NO_CONTROL, ERR_NDSHM_CLOSED; what `signal` aborts with.
   * @example
   * const pair = ndshm.fromArray('pair', [1, 2], { ephemeral: true });
   * console.log(await pair.snapshot((array) => array.toNested())); // [1, 2]
   * pair.close();
   */
  async snapshot<T>(fn: (array: this) => T, options?: WaitOptions): Promise<T> {
    this.#checkLock(fn);
    const checked = checkOptions(options, waitKeys, 'snapshot()');
    return this.#attachment.versions.snapshot(() => fn(this), checked);
  }

  /** As snapshot(), but blocks the thread while a writer is inside. */
  snapshotSync<T>(fn: (array: this) => T, options?: SyncWaitOptions): T {
    this.#checkLock(fn);
    const checked = checkOptions(options, syncWaitKeys, 'snapshotSync()');
    return this.#attachment.versions.snapshotSync(() => fn(this), checked);
  }

  /**
   * Counts what was written under the lock: each completed write adds 2; odd while a writer is inside, or after one
   * has died there. Errors: ERR_NDSHM_NO_CONTROL.
   */
  get version(): number {
    this.#check();
    return this.#attachment.versions.version;
  }

  /**
   * Resolves with the new version once a write has been completed, by whichever process, after version `since`
   * (default: the present one). Stores made without the lock change no version. Does not block.
   * Errors: ERR_NDSHM_TIMEOUT, ERR_NDSHM_NO_CONTROL, ERR_NDSHM_CLOSED; what `signal` aborts with.
   * @example
   * const news = ndshm.create('news', { shape: 1, ephemeral: true });
   * const seen = news.version;
   * news.writeSync((array) => array.set(0, 1));
   * console.log((await news.changed({ since: seen })) > seen); // true
   * news.close();
   */
  async changed(options?: ChangedOptions): Promise<number> {
    this.#check();
    const { since, ...wait } = checkOptions(options, ['since', ...waitKeys], 'changed()');
    return this.#attachment.versions.changed(since, wait);
  }

  /**
   * Lets go of the memory: this array, its views and every typed array over it have length 0 from now on. Other
   * processes are not affected; the named segment stays until unlink() (an ephemeral one until its last peer has
   * left). Closing a view ends that view alone. May be called again.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.entries = this.#spec.over(new ArrayBuffer(0), 0, 0); // so that the fast way finds nothing, in views too
    if (this.#ownsAttachment) this.#attachment.close();
  }

  /**
   * Takes away the name by which others find this array, if it still means this array. Whoever has it open keeps it.
   * Errors: ENOENT if the name is gone, ERR_NDSHM_STALE_HANDLE if it means another array by now, EACCES, EPERM,
   * ERR_NDSHM_ANONYMOUS. Also after close().
   */
  unlink(): void {
    this.#attachment.unlink();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #printable(): Printable {
    this.#check();
    return {
      spec: this.#spec,
      shape: this.shape,
      size: this.size,
      element: (index) => this.#spec.read(this.entries, this.#positionOf(index)),
    };
  }

  /** The values as numpy prints them; long arrays are summarised. */
  toString(): string {
    return formatValues(this.#printable());
  }

  [inspect.custom](): string {
    const tail = [`dtype=${this.dtype}`, ...(this.name === null ? [] : [`name='${this.name}'`]), `mode='${this.mode}'`];
    if (this.closed) return `SharedArray(<closed>, ${tail.join(', ')})`;
    const tuple = this.ndim === 1 ? `(${this.shape[0]},)` : `(${this.shape.join(', ')})`;
    return formatArray(this.#printable(), 'SharedArray', [`shape=${tuple}`, ...tail]);
  }

  /** @internal The attachment behind this array, for the other parts of ndshm. */
  static attachmentOf(array: SharedArray): Attachment {
    return array.#attachment;
  }

  /** @internal The view that a handle describes. With `ownsAttachment`, closing it closes the whole array. */
  static viewOf<D extends DType>(array: SharedArray<D>, geometry: Geometry, ownsAttachment: boolean): SharedArray<D> {
    return array.#view(geometry, ownsAttachment);
  }

  /** @internal The whole memory and this array's place in it, in elements; for adapters to other array libraries. */
  static memoryOf(array: SharedArray): { data: Data; geometry: Geometry } {
    array.#check();
    return { data: array.entries, geometry: array.#geometry };
  }
}
