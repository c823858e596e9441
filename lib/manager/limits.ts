import { checkOptions, integerIn } from '../options';

/** What one side of a connection takes from the other. Beyond it the connection is ended. */
export interface ManagerLimits {
  /** Bytes of one message with all that lies beside it, default 256 MiB. Larger arrays go as SharedArray. */
  readonly maxMessageBytes: number;
  /** Bytes of what messages say beside arrays and other values, default 4 MiB. */
  readonly maxJsonBytes: number;
  /** Bytes that wait for the other side to take them, or to read what it has streamed, default 1 GiB. */
  readonly maxBufferedBytes: number;
  /** Bytes of all SharedArrays that are on their way here from another host, default 4 GiB. */
  readonly maxArrayBytes: number;
  /** Calls of one connection that have not been answered, streams included, default 10,000. */
  readonly maxCalls: number;
  /** References that one connection has, default 100,000. */
  readonly maxObjects: number;
  /** Connections at once, those that have not proved their key included, default 1000. */
  readonly maxConnections: number;
}

const defaults: ManagerLimits = {
  maxMessageBytes: 2 ** 28,
  maxJsonBytes: 2 ** 22,
  maxBufferedBytes: 2 ** 30,
  maxArrayBytes: 2 ** 32,
  maxCalls: 10_000,
  maxObjects: 100_000,
  maxConnections: 1000,
};
const keys = Object.keys(defaults) as (keyof ManagerLimits)[];

export function checkLimits(given: Partial<ManagerLimits> | undefined): ManagerLimits {
  const checked = checkOptions(given, keys, 'limits');
  const value = (key: keyof ManagerLimits) => integerIn(checked[key] ?? defaults[key], 1, Number.MAX_SAFE_INTEGER, key);
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as unknown as ManagerLimits;
}
