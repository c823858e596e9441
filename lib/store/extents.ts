import { stateError } from '../errors';

/** A run of pages of the reservoir. */
export interface Extent {
  readonly start: number;
  readonly pages: number;
  /** Its pages exist, with whatever was in them last; else they are holes. */
  readonly warm: boolean;
}

// A free range: its first page, how many, whether they are warm. Ordered by their first pages.
const Field = { start: 0, pages: 1, warm: 2 };
const fieldWords = 3;
const maxRanges = 8192;

/** Where the words of an Extents lie in the state. */
const Word = { used: 0, count: 1, ranges: 2 };

/**
 * Which pages of the reservoir are free. All words are derived from the rows: whoever gets the lock after somebody died
 * under it clears them and builds them anew. To be called under the lock.
 */
export class Extents {
  static readonly words = Word.ranges + maxRanges * fieldWords;

  readonly #words: Int32Array;
  readonly #base: number;

  constructor(
    words: Int32Array,
    base: number,
    /** Pages of the reservoir. */
    readonly totalPages: number,
    /** How many of them may exist at a time. */
    readonly capacityPages: number,
  ) {
    this.#words = words;
    this.#base = base;
  }

  /** Pages that exist: in use, or warm. */
  get usedPages(): number {
    return Atomics.load(this.#words, this.#base + Word.used);
  }

  set usedPages(pages: number) {
    Atomics.store(this.#words, this.#base + Word.used, pages);
  }

  get #count(): number {
    const count = this.#words[this.#base + Word.count] as number;
    if (count < 0 || count > maxRanges) throw corrupt();
    return count;
  }

  set #count(count: number) {
    this.#words[this.#base + Word.count] = count;
  }

  #at(n: number): number {
    return this.#base + Word.ranges + n * fieldWords;
  }

  #range(n: number): Extent {
    const at = this.#at(n);
    const start = this.#words[at + Field.start] as number;
    const pages = this.#words[at + Field.pages] as number;
    if (start < 0 || pages <= 0 || start + pages > this.totalPages) throw corrupt();
    return { start, pages, warm: this.#words[at + Field.warm] !== 0 };
  }

  #set(n: number, start: number, pages: number, warm: boolean): void {
    const at = this.#at(n);
    this.#words[at + Field.start] = start;
    this.#words[at + Field.pages] = pages;
    this.#words[at + Field.warm] = warm ? 1 : 0;
  }

  #remove(n: number, many = 1): void {
    const count = this.#count;
    this.#words.copyWithin(this.#at(n), this.#at(n + many), this.#at(count));
    this.#count = count - many;
  }

  /** The warm range that fits best, or else holes, where the capacity allows more pages; undefined if neither. */
  take(pages: number, holesOnly = false): Extent | undefined {
    const words = this.#words;
    const count = this.#count;
    let best = -1;
    let bestPages = Number.POSITIVE_INFINITY;
    let hole = -1;
    for (let n = 0; n < count; n++) {
      const at = this.#at(n);
      const length = words[at + Field.pages] as number;
      if (length < pages) continue;
      if (words[at + Field.warm] === 0) {
        if (hole < 0) hole = n;
      } else if (!holesOnly && length < bestPages) {
        best = n;
        bestPages = length;
      }
    }
    if (best < 0 && this.usedPages + pages > this.capacityPages) return undefined;
    const chosen = best >= 0 ? best : hole;
    if (chosen < 0) return undefined;
    const { start, pages: length, warm } = this.#range(chosen);
    if (length === pages) this.#remove(chosen);
    else this.#set(chosen, start + pages, length - pages, warm);
    if (!warm) this.usedPages += pages;
    return { start, pages, warm };
  }

  /**
   * Takes back what take() gave. Where it is not warm, the caller has given its pages back to the system already.
   * False = there is no room to note it: these pages must not be warm, and are not used again before the next rebuild.
   */
  give({ start, pages, warm }: Extent): boolean {
    const count = this.#count;
    let n = this.#firstFrom(start);
    const before = n > 0 ? this.#range(n - 1) : undefined;
    const after = n < count ? this.#range(n) : undefined;
    if ((before && before.start + before.pages > start) || (after && start + pages > after.start)) throw corrupt();
    const joinsBefore = before?.warm === warm && before.start + before.pages === start;
    const joinsAfter = after?.warm === warm && start + pages === after.start;
    if (!joinsBefore && !joinsAfter && count === maxRanges) return false;
    if (!warm) this.usedPages -= pages;
    if (joinsBefore && joinsAfter) {
      this.#set(n - 1, before.start, before.pages + pages + after.pages, warm);
      this.#remove(n);
    } else if (joinsBefore) {
      this.#set(n - 1, before.start, before.pages + pages, warm);
    } else if (joinsAfter) {
      this.#set(n, start, pages + after.pages, warm);
    } else {
      this.#words.copyWithin(this.#at(n + 1), this.#at(n), this.#at(count));
      this.#count = count + 1;
      this.#set(n, start, pages, warm);
      n++;
    }
    return true;
  }

  /** The index of the first range that starts behind a page. */
  #firstFrom(page: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#words[this.#at(middle) + Field.start] as number) < page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Takes the largest warm range out, for the caller to give its pages back to the system and then give() it. */
  takeWarmest(): Extent | undefined {
    let best: Extent | undefined;
    let at = -1;
    for (let n = 0; n < this.#count; n++) {
      const range = this.#range(n);
      if (!range.warm || (best !== undefined && range.pages <= best.pages)) continue;
      best = range;
      at = n;
    }
    if (best !== undefined) this.#remove(at);
    return best;
  }

  /** Pages that exist and are free. */
  get warmPages(): number {
    let sum = 0;
    for (let n = 0; n < this.#count; n++) {
      const range = this.#range(n);
      if (range.warm) sum += range.pages;
    }
    return sum;
  }

  /** Everything but these is free from now on, and holes. */
  rebuild(inUse: readonly { readonly start: number; readonly pages: number }[]): Extent[] {
    const holes: Extent[] = [];
    let used = 0;
    let end = 0;
    for (const { start, pages } of [...inUse].sort((a, b) => a.start - b.start)) {
      if (start < end || pages <= 0 || start + pages > this.totalPages) throw corrupt();
      if (start > end) holes.push({ start: end, pages: start - end, warm: false });
      used += pages;
      end = start + pages;
    }
    if (end < this.totalPages) holes.push({ start: end, pages: this.totalPages - end, warm: false });
    this.usedPages = used;
    // The last of them if there are too many to note: they end with what was never used.
    const noted = holes.length <= maxRanges ? holes : holes.slice(holes.length - maxRanges);
    for (const [n, { start, pages }] of noted.entries()) this.#set(n, start, pages, false);
    this.#count = noted.length;
    return holes;
  }
}

const corrupt = (): Error =>
  stateError('ERR_NDSHM_CONTROL_CORRUPT', 'The free pages of the store have been overwritten; make it anew');
