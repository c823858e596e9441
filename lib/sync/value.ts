import { type Data, type DType, type DTypeSpec, dtypes, type Element, type ElementInput, specOf } from '../array/dtype';
import { rangeError, stateError, typeError, wrongKind } from '../errors';
import { type SyncWaitOptions, syncWaitKeys, type WaitOptions, waitKeys } from '../lock/deadline';
import { checkOptions } from '../options';
import { type NamedOptions, NamedState, namedKeys } from './named-state';
import { Primitive } from './primitive';
import type { Description, Still } from './still';

/** The dtypes that one atomic access can hold. */
export type ValueDType = Exclude<DType, 'float16' | 'complex64' | 'complex128'>;
const valueDTypes = dtypes.filter((dtype) => !['float16', 'complex64', 'complex128'].includes(dtype));

export interface ValueOptions<D extends ValueDType = ValueDType> extends NamedOptions {
  /** Default 'int32', or what it was made with. */
  readonly dtype?: D;
  /** What it holds at first, default zero; an existing one keeps what it holds. */
  readonly value?: ElementInput<D>;
}

// Whole numbers of any width: to TypeScript all of them int32, as Atomics takes one kind of array at a time.
type Integers = Int32Array;

/** The same entry as whole numbers; floats as their bits. */
function integersOver(spec: DTypeSpec, data: Data): Integers {
  if (spec.kind !== 'float') return data as Integers;
  const { buffer, byteOffset } = data;
  const bits = spec.itemBytes === 8 ? new BigInt64Array(buffer, byteOffset, 1) : new Int32Array(buffer, byteOffset, 1);
  return bits as Integers;
}

/**
 * A number that processes share by name and change atomically: multiprocessing.Value of Python without its lock, with
 * the methods of JavaScript's Atomics. Nothing is held, so that nothing is lost with a process that dies. No method but
 * until() waits; each costs tens of nanoseconds.
 *
 * Elements are those of the dtype in a SharedArray: bigints for int64 and uint64, booleans for bool.
 * Errors of all methods: ERR_NDSHM_CLOSED; for what they take, those of SharedArray.set().
 * @example
 * const done = new ndshm.Value('done', { dtype: 'uint32', ephemeral: true });
 * done.add(1); // in any process
 * await done.until((count) => count >= 1);
 * console.log(done.load()); // 1
 * done.close();
 */
export class Value<D extends ValueDType = 'int32'> extends Primitive {
  readonly #spec: DTypeSpec;
  readonly #entry: Integers;
  // Where what comes from outside is checked, and floats become bits and bits floats.
  readonly #scratch: Data;
  readonly #scratchBits: Integers;

  /**
   * Opens the value of this name, or makes it. Does not block.
   * Errors: ERR_NDSHM_MISMATCH if it was made with another dtype or the name means something else, ERR_NDSHM_DTYPE for
   * float16 and complex numbers, and those of open().
   */
  constructor(name: string, options?: ValueOptions<D>) {
    const { dtype, value, ...named } = checkOptions(options, ['dtype', 'value', ...namedKeys], 'new Value()');
    const wanted = specOf(dtype ?? 'int32');
    if (!valueDTypes.includes(wanted.name)) {
      throw rangeError('ERR_NDSHM_DTYPE', `A Value cannot be ${wanted.name}; it can be ${valueDTypes.join(', ')}`);
    }
    const number = valueDTypes.indexOf(wanted.name);
    const given = dtype === undefined ? undefined : number;
    const write = (which: number) => String(valueDTypes[which]);
    const parameters = [{ name: 'dtype', given, otherwise: number, write }];
    const entryOf = (spec: DTypeSpec, words: Int32Array) => spec.over(words.buffer, words.byteOffset, 1);
    const first = wanted.over(new ArrayBuffer(wanted.itemBytes), 0, 1);
    if (value !== undefined) wanted.write(first, 0, value);
    const init = (words: Int32Array) => (entryOf(wanted, words) as Float64Array).set(first as Float64Array);
    super(new NamedState(name, { kind: 'Value', parameters, size: () => ({ words: 2 }), init }, named));
    const found = valueDTypes[this.state.parameters[0] as number];
    if (found === undefined) {
      this.close();
      throw stateError('ERR_NDSHM_CONTROL_CORRUPT', `The value '${name}' has been overwritten; create it anew`);
    }
    const spec = specOf(found);
    const scratch = spec.over(new ArrayBuffer(spec.itemBytes), 0, 1);
    const bits = integersOver(spec, scratch);
    this.#spec = spec;
    this.#entry = integersOver(spec, entryOf(spec, this.state.words));
    this.#scratch = scratch;
    this.#scratchBits = bits;
  }

  get dtype(): D {
    return this.#spec.name as D;
  }

  load(): Element<D> {
    this.state.check();
    return this.#element(Atomics.load(this.#entry, 0));
  }

  store(value: ElementInput<D>): void {
    this.exchange(value);
  }

  /** Adds; gives what it was before. Integers wrap around at the end of their range. Not for bool. */
  add(operand: ElementInput<D>): Element<D> {
    return this.#arithmetic('add', operand);
  }

  /** Subtracts; gives what it was before. Integers wrap around at the end of their range. Not for bool. */
  sub(operand: ElementInput<D>): Element<D> {
    return this.#arithmetic('sub', operand);
  }

  /** Bitwise and; gives what it was before. Not for floats. */
  and(operand: ElementInput<D>): Element<D> {
    return this.#bitwise('and', operand);
  }

  /** Bitwise or; gives what it was before. Not for floats. */
  or(operand: ElementInput<D>): Element<D> {
    return this.#bitwise('or', operand);
  }

  /** Bitwise exclusive or; gives what it was before. Not for floats. */
  xor(operand: ElementInput<D>): Element<D> {
    return this.#bitwise('xor', operand);
  }

  /** Stores; gives what it was before. */
  exchange(value: ElementInput<D>): Element<D> {
    return this.#changed(Atomics.exchange(this.#entry, 0, this.#operand(value)));
  }

  /**
   * Stores `replacement` if the value is `expected`; gives what it was before. Floats are compared by their bits, as in
   * C++: 0 is not -0, and NaN is NaN.
   */
  compareExchange(expected: ElementInput<D>, replacement: ElementInput<D>): Element<D> {
    const bits = this.#operand(expected);
    return this.#changed(Atomics.compareExchange(this.#entry, 0, bits, this.#operand(replacement)));
  }

  /**
   * Resolves with the value once `predicate` is true of it. Does not block the thread. The predicate sees the value now
   * and after every change; of several changes in a row maybe the last alone.
   * Errors: ERR_NDSHM_TIMEOUT after `timeoutMs` (default: never), the signal's reason, what the predicate throws.
   */
  async until(predicate: (value: Element<D>) => boolean, options?: WaitOptions): Promise<Element<D>> {
    const [value] = await this.state.changes.until(
      this.#satisfying(predicate),
      checkOptions(options, waitKeys, 'until()'),
    );
    return value;
  }

  /** until(), but blocking the thread. */
  untilSync(predicate: (value: Element<D>) => boolean, options?: SyncWaitOptions): Element<D> {
    const how = checkOptions(options, syncWaitKeys, 'untilSync()');
    return this.state.changes.untilSync(this.#satisfying(predicate), how)[0];
  }

  #satisfying(predicate: (value: Element<D>) => boolean): () => readonly [Element<D>] | undefined {
    if (typeof predicate !== 'function') throw wrongKind('a function', 'the predicate', predicate);
    return () => {
      const value = this.load();
      return predicate(value) ? [value] : undefined;
    };
  }

  /** Checked, as whole numbers of the entry's kind. */
  #operand(value: ElementInput<D>): number {
    this.state.check();
    this.#spec.write(this.#scratch, 0, value);
    return this.#scratchBits[0] as number;
  }

  #element(bits: number): Element<D> {
    this.#scratchBits[0] = bits;
    return this.#spec.read(this.#scratch, 0) as Element<D>;
  }

  #changed(before: number): Element<D> {
    this.state.changes.notify();
    return this.#element(before);
  }

  #arithmetic(change: 'add' | 'sub', operand: ElementInput<D>): Element<D> {
    const { kind } = this.#spec;
    if (kind === 'bool') throw this.#without(change);
    const bits = this.#operand(operand);
    if (kind !== 'float') return this.#changed(Atomics[change](this.#entry, 0, bits));
    const amount = change === 'add' ? (operand as number) : -(operand as number);
    for (;;) {
      const before = Atomics.load(this.#entry, 0);
      (this.#scratch as Float64Array)[0] = (this.#element(before) as number) + amount;
      const sum = this.#scratchBits[0] as number;
      if (Atomics.compareExchange(this.#entry, 0, before, sum) === before) return this.#changed(before);
    }
  }

  #bitwise(change: 'and' | 'or' | 'xor', operand: ElementInput<D>): Element<D> {
    if (this.#spec.kind === 'float') throw this.#without(change);
    return this.#changed(Atomics[change](this.#entry, 0, this.#operand(operand)));
  }

  #without(change: string): Error {
    return typeError('ERR_NDSHM_DTYPE', `A Value of dtype ${this.dtype} has no ${change}()`);
  }
}

export function describeValue({ words, parameters }: Still): Description {
  const dtype = valueDTypes[parameters[0] as number];
  if (dtype === undefined) return { facts: { dtype: null, value: null }, claims: [] };
  const spec = specOf(dtype);
  const value = spec.read(spec.over(words.buffer, words.byteOffset, 1), 0) as number | bigint | boolean;
  // JSON knows neither integers of 64 bits nor NaN and the infinities.
  const isPlain = typeof value === 'boolean' || Number.isFinite(value);
  return { facts: { dtype, value: isPlain ? (value as number | boolean) : String(value) }, claims: [] };
}
