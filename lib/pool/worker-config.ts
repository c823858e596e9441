import type { FunctionSpec } from './functions';
import type { StoredAt } from './lane';

export const configVariable = 'NDSHM_WORKER';

/** What a worker is told at its start, by its environment. */
export interface WorkerConfig {
  /** Its number in its lane: never given twice while its cells may tell of it. */
  readonly worker: number;
  readonly cells: number;
  /** Name of the store for payloads. */
  readonly store: string;
  /** Whether it has to wait for an Initializer, by message. */
  readonly awaitsInitializer: boolean;
  readonly maxTasks: number | null;
  /** So long it looks for the next task in each turn of the event loop before it sleeps. */
  readonly pollMs: number;
}

/** What a worker runs first. */
export interface Initializer {
  readonly spec: FunctionSpec;
  readonly args: StoredAt;
}

/** A worker's one message: it is ready; or what its initializer threw, which is its end. */
export type WorkerMessage =
  | { readonly ndshmWorker: 'ready' }
  | {
      readonly ndshmWorker: 'failed';
      readonly message: string;
      readonly stack: string | null;
      readonly code?: string;
    };

/** Others are of what runs in the worker. */
export const isWorkerMessage = (message: unknown): message is WorkerMessage =>
  typeof message === 'object' && message !== null && 'ndshmWorker' in message;
