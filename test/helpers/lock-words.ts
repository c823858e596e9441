import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { within } from './child';
import { shmPath } from './shm';

// Bytes of native/core/layout.h.
const controlBytes = 20_480;
const peersAt = 4096;
const peerBytes = 64;
export const wordAt = {
  writer: 64,
  abandoned: 68,
  version: 128,
  changeSignal: 136,
  changeWaiters: 140,
  readerSignal: 192,
  drainWaits: 196,
  readerSlots: 256,
} as const;
export const bit = { writersWait: 1 << 24, readersWait: 1 << 25, readers: 1 << 26, abandoned: 1 << 27 } as const;

/** The lock words of a segment, as its file shows them to anybody: to see how far other processes are, or to spoil them. */
export class LockWords {
  constructor(readonly name: string) {}

  #access<T>(use: (fd: number, controlAt: number) => T): T {
    const fd = openSync(shmPath(this.name), 'r+');
    try {
      return use(fd, fstatSync(fd).size - controlBytes);
    } finally {
      closeSync(fd);
    }
  }

  get(at: number): number {
    const word = Buffer.alloc(4);
    this.#access((fd, controlAt) => readSync(fd, word, 0, 4, controlAt + at));
    return word.readUInt32LE();
  }

  set(at: number, value: number): void {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(value >>> 0);
    this.#access((fd, controlAt) => writeSync(fd, word, 0, 4, controlAt + at));
  }

  /** The slot inside for writing, or on its way in; -1 = none. */
  get owner(): number {
    return (this.get(wordAt.writer) & 0x1ff) - 1;
  }
  /** The slot that alone may enter next; -1 = anybody. */
  get turn(): number {
    return ((this.get(wordAt.writer) >>> 9) & 0x1ff) - 1;
  }
  get isAbandoned(): boolean {
    return (this.get(wordAt.writer) & bit.abandoned) !== 0;
  }
  get isWriting(): boolean {
    return this.get(wordAt.version) % 2 === 1;
  }
  flag(slot: number): number {
    return this.get(peersAt + slot * peerBytes);
  }
  setFlag(slot: number, value: number): void {
    this.set(peersAt + slot * peerBytes, value);
  }
  /** 0 nothing, 1 to read, 2 to write. */
  waitingFor(slot: number): number {
    return this.get(peersAt + slot * peerBytes + 36);
  }
}

/** Waits for what happens in another process, which does not say so. */
export async function eventually(what: string, condition: () => boolean): Promise<void> {
  let over = false;
  const look = async (): Promise<void> => {
    while (!over && !condition()) await new Promise(setImmediate);
  };
  try {
    await within(look(), what);
  } finally {
    over = true;
  }
}
