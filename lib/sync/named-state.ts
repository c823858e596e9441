import type { Attachment } from '../array/attachment';
import { create } from '../array/create';
import { open } from '../array/open';
import { SharedArray } from '../array/shared-array';
import { type CodedError, stateError } from '../errors';
import type { Changes, PeerId } from '../lock/changes';
import type { RwLock } from '../lock/rw-lock';
import { booleanOption, checkName } from '../options';

/** What all named primitives have in common. */
export interface NamedOptions {
  /** The segment belongs to its peers: gone with the last one that closes it. Default false: until unlink(). */
  readonly ephemeral?: boolean;
  /** Open one that belongs to another user. Default false. */
  readonly allowForeignOwner?: boolean;
}
export const namedKeys = ['ephemeral', 'allowForeignOwner'] as const;

/** What a primitive is made with: a number that all who open it have in common. */
export interface Parameter {
  readonly name: string;
  /** What the caller asks for; undefined = whatever it was made with. */
  readonly given: number | undefined;
  /** What it is made with if the caller does not say. */
  readonly otherwise: number;
  /** How to write it, if not as a number. */
  readonly write?: (value: number) => string;
}

export interface StateSpec {
  /** Which primitive it is, at most 24 characters. */
  readonly kind: string;
  /** At most 8. */
  readonly parameters?: readonly Parameter[];
  /** Int32 words of state, all 0 at first, and bytes after them, a multiple of 8. */
  readonly size: (...parameters: number[]) => { readonly words: number; readonly bytes?: number };
  /** Puts down what it begins with, before the segment has its name. */
  readonly init?: (words: Int32Array, ...parameters: number[]) => void;
  /** Looks at the words of one that exists; false = it has ended: its name is taken away, and another made. */
  readonly isAlive?: (words: Int32Array) => boolean;
}

// The segment is an int32 array: the kind; how many words of state there are, and padding; the parameters; the words,
// padded so that what follows is aligned to 8 bytes; the bytes.
const kindWords = 6;
const countAt = kindWords;
const parametersAt = 8;
const headWords = 16;
const evenly = (words: number): number => words + (words % 2);

/**
 * The state of a named primitive in a segment of its own: words, bytes, lock and change signal. Whoever comes first
 * makes it, complete, in one atomic step; everybody else opens it.
 */
export class NamedState {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  /** As they are, whatever the caller said or left open; in the order of the spec. */
  readonly parameters: readonly number[];
  readonly lock: RwLock;
  readonly changes: Changes;
  /** This attachment's life. */
  readonly me: PeerId;
  /** @internal The segment, for what belongs to it. */
  readonly array: SharedArray;
  readonly #attachment: Attachment;

  constructor(
    readonly name: string,
    spec: StateSpec,
    options: NamedOptions,
  ) {
    checkName(name);
    this.array = openOrCreate(name, spec, {
      ephemeral: booleanOption(options.ephemeral, 'ephemeral'),
      allowForeignOwner: booleanOption(options.allowForeignOwner, 'allowForeignOwner'),
    });
    this.#attachment = SharedArray.attachmentOf(this.array);
    try {
      const all = this.array.data as Int32Array;
      const count = checkedWords(name, spec.kind, all);
      this.parameters = checkedParameters(name, spec, all);
      this.words = all.subarray(headWords, headWords + count);
      const rest = all.subarray(headWords + evenly(count));
      this.bytes = new Uint8Array(rest.buffer, rest.byteOffset, rest.byteLength);
      const size = spec.size(...this.parameters);
      if (count !== size.words || this.bytes.length < (size.bytes ?? 0)) {
        throw stateError('ERR_NDSHM_CONTROL_CORRUPT', `'${name}' has been overwritten; create it anew`);
      }
      const { control } = this.#attachment;
      this.lock = this.#attachment.lock;
      this.changes = this.#attachment.changes;
      this.me = { slot: control.slot, generation: control.generation };
    } catch (error) {
      this.array.close();
      throw error;
    }
  }

  get closed(): boolean {
    return this.#attachment.closed;
  }

  /** Throws ERR_NDSHM_CLOSED, or ERR_NDSHM_TRUNCATED. */
  check(): void {
    this.#attachment.check();
  }

  /** Whether a peer's life is over, as the kernel knows: half a microsecond. */
  isDead({ slot, generation }: PeerId): boolean {
    this.check();
    const { control } = this.lock;
    return control.succeed(control.native.isDead(slot, generation));
  }

  close(): void {
    this.array.close();
  }

  unlink(): void {
    this.array.unlink();
  }
}

function openOrCreate(name: string, spec: StateSpec, options: Required<NamedOptions>): SharedArray {
  const { ephemeral, allowForeignOwner } = options;
  for (;;) {
    try {
      const array = open(name, { mode: 'r+', allowForeignOwner });
      if (!hasEnded(name, spec, array)) return array;
      // Whoever said so died before it took the name away.
      array.unlink();
      array.close();
      continue;
    } catch (error) {
      if ((error as CodedError).code !== 'ENOENT') throw error;
    }
    try {
      const parameters = (spec.parameters ?? []).map(({ given, otherwise }) => given ?? otherwise);
      const { words, bytes = 0 } = spec.size(...parameters);
      const shape = headWords + evenly(words) + bytes / 4;
      const init = (array: SharedArray) => {
        const all = array.data as Int32Array;
        new Uint8Array(all.buffer, all.byteOffset, 4 * kindWords).set(Buffer.from(spec.kind));
        all[countAt] = words;
        all.set(parameters, parametersAt);
        spec.init?.(all.subarray(headWords, headWords + words), ...parameters);
      };
      return create(name, { shape, dtype: 'int32', ephemeral, init: init as never }) as SharedArray;
    } catch (error) {
      if ((error as CodedError).code !== 'EEXIST') throw error; // else somebody was faster: open theirs
    }
  }
}

function hasEnded(name: string, { kind, isAlive }: StateSpec, array: SharedArray): boolean {
  if (isAlive === undefined) return false;
  try {
    const all = array.data as Int32Array;
    return !isAlive(all.subarray(headWords, headWords + checkedWords(name, kind, all)));
  } catch (error) {
    array.close();
    throw error;
  }
}

/** A primitive's elements, taken apart. `words` ends early where `all` does. */
export interface Elements {
  readonly kind: string;
  readonly parameters: Int32Array;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
}

export function elementsIn(all: Int32Array): Elements | undefined {
  if (all.length < headWords) return undefined;
  const count = all[countAt] as number;
  const rest = all.subarray(headWords + evenly(count));
  return {
    kind: kindIn(all),
    parameters: all.subarray(parametersAt, headWords),
    words: all.subarray(headWords, headWords + count),
    bytes: new Uint8Array(rest.buffer, rest.byteOffset, rest.byteLength),
  };
}

const kindIn = (all: Int32Array): string =>
  Buffer.from(all.buffer, all.byteOffset, 4 * kindWords)
    .toString('latin1')
    .replace(/\0+$/, '');

function checkedWords(name: string, kind: string, all: Int32Array): number {
  const isOurs = all instanceof Int32Array && all.length >= headWords;
  const found = isOurs ? kindIn(all) : 'an array';
  const count = isOurs ? (all[countAt] as number) : 0;
  if (found !== kind || count < 0 || headWords + evenly(count) > all.length) {
    throw stateError('ERR_NDSHM_MISMATCH', `Expected '${name}' to be ${kind} but found ${JSON.stringify(found)}`);
  }
  return count;
}

function checkedParameters(name: string, { kind, parameters = [] }: StateSpec, all: Int32Array): number[] {
  return parameters.map((parameter, n) => {
    const found = all[parametersAt + n] as number;
    if (parameter.given === undefined || parameter.given === found) return found;
    const { write = String } = parameter;
    throw stateError(
      'ERR_NDSHM_MISMATCH',
      `Expected the ${kind} '${name}' to have ${parameter.name} ${write(parameter.given)} but found ${write(found)}`,
    );
  });
}
