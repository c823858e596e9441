import type { SpecialRef } from './document';

// The containers of a value, as the tree of its document has them (tree.ts).

/** A container's part of the tree, or its special; by index or by key. */
export type Part = Record<string | number, unknown>;

export interface Kind {
  readonly fill: (walk: Parts, open: Open) => void;
  /** From such a container to what its part has there, as JavaScript would say it. */
  readonly step: (at: string | number, part: Part) => string;
}

/** A container of the value, which is filled when all that was met before it has been. */
export class Open {
  /** The special that it is; undefined = it lies in the part of what it was met in. */
  ref: SpecialRef | undefined;

  constructor(
    readonly source: object,
    public part: Part,
    public kind: Kind,
    /** Where it was met first. */
    readonly within: Open | undefined,
    readonly at: string | number,
    /** Of its part, counted from the root or a special. */
    readonly depth: number,
  ) {}
}

/** What containers are filled by. */
export interface Parts {
  /** What stands in the tree for a value that was met there. */
  part(value: unknown, within: Open, at: string | number): unknown;
  /** Makes a special of the object, before anything is in it, whose keys may be any. */
  turnIntoEntries(open: Open): void;
}

const isTextKey = (key: string): boolean => key !== '__proto__' && key.isWellFormed();

const isName = /^[A-Za-z_$][\w$]*$/;
const propertyStep = (key: unknown): string =>
  typeof key === 'string' && isName.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;

export const list: Kind = {
  fill(walk, open) {
    const source = open.source as unknown[];
    const part = open.part as unknown as unknown[];
    const { length } = source;
    for (let n = 0; n < length; n++) part[n] = walk.part(source[n], open, n);
  },
  step: (at) => `[${at}]`,
};

export const object: Kind = {
  fill(walk, open) {
    const { source, part } = open;
    const keys = Object.keys(source);
    if (!keys.every(isTextKey)) {
      walk.turnIntoEntries(open);
      entries.fill(walk, open);
      return;
    }
    for (const key of keys) part[key] = walk.part((source as Part)[key], open, key);
  },
  step: propertyStep,
};

/** Appends a value to the open special. */
function append(walk: Parts, open: Open, value: unknown): void {
  const special = open.part as unknown as unknown[];
  const at = special.push(null) - 1;
  special[at] = walk.part(value, open, at);
}

/** An object with keys that msgpack cannot say, or a list with holes or names. */
export const entries: Kind = {
  fill(walk, open) {
    for (const key of Object.keys(open.source)) {
      append(walk, open, key);
      append(walk, open, (open.source as Part)[key]);
    }
  },
  step: (at, part) => propertyStep(part[Number(at) - 1]),
};

export const map: Kind = {
  fill(walk, open) {
    // All of them first: what is met there may run code of the user's, which may change the map.
    const all = [...Map.prototype.entries.call(open.source as Map<unknown, unknown>)];
    for (const [key, value] of all) {
      append(walk, open, key);
      append(walk, open, value);
    }
  },
  step: (at) => (Number(at) % 2 === 1 ? `.keys()[${(Number(at) - 1) / 2}]` : `.values()[${Number(at) / 2 - 1}]`),
};

export const set: Kind = {
  fill(walk, open) {
    const all = [...Set.prototype.values.call(open.source as Set<unknown>)];
    for (const value of all) append(walk, open, value);
  },
  step: (at) => `.values()[${Number(at) - 1}]`,
};

export const error: Kind = {
  fill(walk, open) {
    if (Object.hasOwn(open.source, 'cause')) append(walk, open, (open.source as Error).cause);
  },
  step: () => '.cause',
};

/** From the value to what was met there, as JavaScript would say it. */
export function pathTo(within: Open | undefined, at: string | number): string {
  let path = '';
  let to = at;
  for (let open = within; open !== undefined; open = open.within) {
    path = open.kind.step(to, open.part) + path;
    to = open.at;
  }
  return `value${path}`;
}
