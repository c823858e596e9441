import { type Data, type DType, type DTypeSpec, type Element, type ElementInput, specOf } from '../../array/dtype';
import { integerIn } from '../../options';
import { arrayOf, checkIndex, positionOf } from './items';

/** Elements one by one, or as slice() gives them. */
export type HostedItems<D extends DType = DType> = Iterable<ElementInput<D>> | Data<D>;

/**
 * Numbers of one dtype, in a fixed number: multiprocessing.Array of Python. Positions may count from the end, from -1 on.
 * Elements are those of a SharedArray of this dtype, with the errors of SharedArray.set(); each method is atomic. For large
 * arrays a SharedArray is the better way, which needs no call.
 * @example
 * const manager = await ndshm.Manager.start();
 * const squares = await manager.array('float64', 4);
 * await squares.setSlice(0, [0, 1, 4, 9]);
 * console.log(await squares.slice(-2)); // Float64Array(2) [ 4, 9 ]
 * await manager.close();
 */
export class HostedArray<D extends DType = DType> {
  readonly #spec: DTypeSpec;
  readonly #data: Data<D>;

  /** With so many zeros, or with these elements. Errors: ERR_NDSHM_DTYPE. */
  constructor(dtype: D, lengthOrItems: number | HostedItems<D>) {
    this.#spec = specOf(dtype);
    this.#data =
      typeof lengthOrItems === 'number'
        ? this.#zeros(integerIn(lengthOrItems, 0, Number.MAX_SAFE_INTEGER, 'the length'))
        : (this.#dataOf(lengthOrItems).slice() as Data<D>);
  }

  get dtype(): D {
    return this.#spec.name as D;
  }

  get length(): number {
    return this.#data.length / this.#spec.lanes;
  }

  /** Errors: ERR_NDSHM_OUT_OF_RANGE if there is no such element. */
  get(index: number): Element<D> {
    return this.#spec.read(this.#data, this.#at(index)) as Element<D>;
  }

  /** Errors: ERR_NDSHM_OUT_OF_RANGE if there is no such element, or the value does not fit. */
  set(index: number, value: ElementInput<D>): void {
    this.#spec.write(this.#data, this.#at(index), value);
  }

  /** Sets all elements. */
  fill(value: ElementInput<D>): void {
    const one = this.#dataOf([value]);
    for (let at = 0; at < this.#data.length; at += one.length) this.#put(one, at);
  }

  /** Elements from `start` up to, not including, `end`, as a typed array of their own: TypedArray.slice(). */
  slice(start = 0, end = this.length): Data<D> {
    const { lanes } = this.#spec;
    return this.#data.slice(checkIndex(start) * lanes, checkIndex(end) * lanes) as Data<D>;
  }

  /** All elements, as a typed array of their own. */
  toArray(): Data<D> {
    return this.slice();
  }

  /** Sets elements from `start` on, all of them or none. Errors: ERR_NDSHM_OUT_OF_RANGE if there are too many, or one does not fit. */
  setSlice(start: number, items: HostedItems<D>): void {
    const data = this.#dataOf(items);
    const { lanes } = this.#spec;
    const first = integerIn(start, -this.length, this.length, 'the index');
    const at = (first < 0 ? first + this.length : first) * lanes;
    integerIn(data.length / lanes, 0, (this.#data.length - at) / lanes, 'the number of elements');
    this.#put(data, at);
  }

  #at(index: number): number {
    return positionOf(index, this.length) * this.#spec.lanes;
  }

  #put(data: Data<D>, at: number): void {
    (this.#data as Float64Array).set(data as Float64Array, at); // to TypeScript, whatever both of them are
  }

  #zeros(length: number): Data<D> {
    const buffer = new ArrayBuffer(length * this.#spec.itemBytes);
    return this.#spec.over(buffer, 0, length * this.#spec.lanes) as Data<D>;
  }

  /** Checked. What has come as an array of the same kind is taken as it is, except for bool, which has more than two bytes. */
  #dataOf(items: HostedItems<D>): Data<D> {
    const { kind, lanes, write } = this.#spec;
    const none = this.#zeros(0);
    const isData = kind !== 'bool' && Object.prototype.toString.call(items) === Object.prototype.toString.call(none);
    if (isData && (items as Data<D>).length % lanes === 0) return items as Data<D>;
    const list = arrayOf(items as Iterable<unknown>);
    const data = this.#zeros(list.length);
    for (const [index, item] of list.entries()) write(data, index * lanes, item);
    return data;
  }
}
