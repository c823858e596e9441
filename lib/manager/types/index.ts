import { HostedArray } from './array';
import { HostedBarrier } from './barrier';
import { HostedCondition } from './condition';
import { Dict } from './dict';
import { HostedEvent } from './event';
import { List } from './list';
import { HostedLock } from './lock';
import { Namespace } from './namespace';
import { HostedPool } from './pool';
import { HostedQueue } from './queue';
import { HostedRLock } from './rlock';
import { HostedSemaphore } from './semaphore';
import { HostedValue } from './value';

export type { HostedItems } from './array';
export type { HostedBarrierOptions } from './barrier';
export type { DictKey } from './dict';
export type { DictEntries } from './keyed';
export type { HostedMapOptions, HostedPoolOptions } from './pool';
export type { HostedPutOptions, HostedQueueOptions } from './queue';
export type { HostedSemaphoreOptions } from './semaphore';
export {
  Dict,
  HostedArray,
  HostedBarrier,
  HostedCondition,
  HostedEvent,
  HostedLock,
  HostedPool,
  HostedQueue,
  HostedRLock,
  HostedSemaphore,
  HostedValue,
  List,
  Namespace,
};

/** What every manager can make, by the names of its methods that do. A pool needs to be told of the manager's modules. */
export const builtinTypes = {
  dict: Dict,
  list: List,
  namespace: Namespace,
  queue: HostedQueue,
  event: HostedEvent,
  lock: HostedLock,
  rlock: HostedRLock,
  semaphore: HostedSemaphore,
  condition: HostedCondition,
  barrier: HostedBarrier,
  value: HostedValue,
  array: HostedArray,
} as const;
export type BuiltinTypes = typeof builtinTypes & { readonly pool: typeof HostedPool };
