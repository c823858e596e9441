import { ownerInWords } from '../owners';
import { allSegments, memory, type Segment } from '../segments';

/** As JSON has it. */
export type Sent<T> = T extends Date ? string : T extends object ? { readonly [K in keyof T]: Sent<T[K]> } : T;

export interface MemorySample {
  /** As Date.now(). */
  readonly at: number;
  readonly usedBytes: number;
}

/** What a page is told once. */
export interface Hello {
  readonly allowWrite: boolean;
  /** Of the server: for a moment it is a peer of what the page draws. */
  readonly pid: number;
  readonly host: string;
  readonly history: readonly MemorySample[];
}

export interface ListedSegment extends Segment {
  readonly owner: string;
}

/** What a page is told each second. */
export interface State {
  /** As Date.now(). */
  readonly at: number;
  readonly memory: { readonly usedBytes: number; readonly totalBytes: number };
  readonly segments: readonly ListedSegment[];
}

export function stateNow(): State {
  const segments = allSegments().map((segment) => ({ ...segment, owner: ownerInWords(segment.uid) }));
  return { at: Date.now(), memory: memory(), segments };
}
