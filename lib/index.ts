// The public names; what they do is said where they are defined.

export {
  type AnonymousOptions,
  anonymous,
  type CreateOptions,
  create,
  type DTypeOf,
  type FromArrayOptions,
  fromArray,
  type IfExists,
  type PublishOptions,
} from './array/create';
export { type GcOptions, gc, type ListOptions, list, type SegmentInfo, stat, unlink } from './array/directory';
export {
  type Complex,
  type Data,
  type DType,
  dtypes,
  type Element,
  type ElementInput,
  float16IsBits,
} from './array/dtype';
export { type LoadOptions, load, type OnProgress, type SaveOptions, save } from './array/files';
export { type ForkOptions, fork, inherited } from './array/fork';
export { type ArrayHandle, type AttachOptions, attach } from './array/handle';
export type { Nested } from './array/nested';
export { type OpenOptions, type OpenRawOptions, open, openRaw } from './array/open';
export type { LockState, PeerInfo } from './array/peers';
export type { Order, SliceItem } from './array/shape';
export { type ChangedOptions, SharedArray } from './array/shared-array';
export { type WatchOptions, watch } from './array/watch';
export { type CodedError, type ErrorCode, errorCodes } from './errors';
export type { PutOptions } from './interop/plain-file';
export { type OpenTableOptions, openTable, putTable, SharedTable } from './interop/tables';
export {
  type OpenTensorsOptions,
  openTensors,
  type PutTensorsOptions,
  putTensors,
  SharedTensors,
  type TensorSource,
} from './interop/tensors';
export type { SyncWaitOptions, WaitOptions } from './lock/deadline';
export type {
  Hold,
  OnAbandonedRead,
  OnAbandonedWrite,
  ReadOptions,
  ReadSyncOptions,
  WriteOptions,
  WriteSyncOptions,
} from './lock/hold';
export type { Caller } from './manager/caller';
export type { ManagerLimits } from './manager/limits';
export {
  Manager,
  type ManagerConnectOptions,
  type ManagerHereOptions,
  type ManagerMakers,
  type ManagerServeOptions,
  type ManagerStartOptions,
  type ManagerTypes,
  type RegisterOptions,
} from './manager/manager';
export type { HostedObjectInfo, ManagerInfo } from './manager/objects';
export type { Pending, Proxied } from './manager/remote';
export type { TlsOptions } from './manager/tls';
export type {
  BuiltinTypes,
  DictEntries,
  DictKey,
  HostedBarrierOptions,
  HostedItems,
  HostedMapOptions,
  HostedPoolOptions,
  HostedPutOptions,
  HostedQueueOptions,
  HostedSemaphoreOptions,
} from './manager/types';
export type { Mode } from './options';
export type { Actor } from './pool/actor';
export { Cancelled, TaskError, Timeout, WorkerLost } from './pool/failures';
export type { ModuleFunction, TaskFunction } from './pool/functions';
export type { CallOptions } from './pool/limits';
export type { OnPoolProgress } from './pool/map';
export { type ImapOptions, type MapOptions, Pool, type PoolOptions, type PoolWaitOptions } from './pool/pool';
export { availableProcessors } from './pool/processors';
export { type Progress, type ProgressBar, type ProgressBarOptions, progressBar } from './pool/progress-bar';
export { TaskRef } from './pool/task-ref';
export { ArrayTable, type GetArrayOptions, type TableArrayOptions } from './store/array-table';
export { Draft } from './store/draft';
export { Lease } from './store/lease';
export type { ObjectRef } from './store/object-ref';
export {
  type CreateArrayOptions,
  type ObjectInfo,
  Store,
  type StoreInfo,
  type StoreOptions,
  type StoreWaitOptions,
} from './store/store';
export { Barrier, type BarrierOptions } from './sync/barrier';
export { Condition } from './sync/condition';
export { Event } from './sync/event';
export { inspect, type PrimitiveInfo, type PrimitiveKind } from './sync/inspect';
export {
  type Lock,
  type LockInfo,
  LockManager,
  type LockManagerSnapshot,
  type LockMode,
  type LockOptions,
  locks,
} from './sync/lock-manager';
export { Mutex, type MutexOptions } from './sync/mutex';
export type { NamedOptions } from './sync/named-state';
export { Queue, type QueueOptions } from './sync/queue';
export { RWLock } from './sync/rw-lock';
export { Semaphore, type SemaphoreOptions } from './sync/semaphore';
export type { Claim } from './sync/still';
export { Value, type ValueDType, type ValueOptions } from './sync/value';
