import { binding, type EntryNumber, type Failure } from '../binding';
import { type CodedError, stateError, typeError } from '../errors';
import { oneOf } from '../options';
import { type Access, heldByCaller, runHolding } from './context';
import {
  type ControlWords,
  changeWaitersAt,
  drainWaitsAt,
  fence,
  loadAfter,
  versionAt,
  writerAt,
} from './control-words';
import { blockingSliceMs, checkSignal, checkTimeout, Deadline, type WaitOptions } from './deadline';
import {
  type Hold,
  halfWritten,
  intact,
  type OnAbandonedRead,
  type OnAbandonedWrite,
  type ReadOptions,
  type ReadSyncOptions,
  settled,
  type WriteOptions,
  type WriteSyncOptions,
} from './hold';

const { bits } = binding.layout;
const READ = 1;
const WRITE = 2;
const DRAIN = 3;
const numberOf = { read: READ, write: WRITE } as const;

// Entry of native/core/rwlock.h; 1 = inside.
const NOT_YET = 0;
const ENTERED_ABANDONED = 2;
const DRAINING = 3;

// What an attachment holds: -1 = the write lock, n > 0 = a read lock for n callers.
const NOTHING = 0;
const WRITING = -1;

// What a lock that is closed, or that we may not take, has for its words: never free, so that all goes the long way, which
// says what is the matter. The ordinary way has no check of its own.
const never = -1;
const noWords = new Int32Array(binding.layout.controlBytes / 4);

/** An asynchronous caller in line. */
interface Waiter {
  readonly access: Access;
  readonly resolve: (abandoned: boolean) => void;
  readonly reject: (reason: unknown) => void;
  deadline: Deadline | undefined;
}

const openLocks = new Set<WeakRef<RwLock>>();
const forgetCollected = new FinalizationRegistry<WeakRef<RwLock>>((reference) => openLocks.delete(reference));

/**
 * The reader-writer lock of a segment, as one attachment takes part in it: the uncontended ways in and out, and the
 * order among the callers of this thread. What waits is native/core/rwlock.cc; docs/concurrency.md is the essay.
 *
 * `true` from an entry means that the lock is held and the data may be half-written: an owner has died inside.
 * Errors: ERR_NDSHM_TIMEOUT, ERR_NDSHM_DEADLOCK, ERR_NDSHM_READ_ONLY, ERR_NDSHM_CLOSED, ERR_NDSHM_CONTROL_CORRUPT.
 */
export class RwLock {
  // TypeScript's `private`, as in SharedArray: these are what an uncontended lock costs.
  private words: Int32Array;
  private readonly me: number;
  private readonly flagAt: number;
  private held = NOTHING;
  /** A native thread is on its way in for the first in line. */
  private entering = false;
  /** What the word holds while nobody holds it, as far as known: 0, or `readers` once anybody has read. `never`: closed. */
  private free = 0;
  private abandoned = false;
  private registered = false;
  /** For which access the native thread waits. */
  #enteringFor: Access = 'read';
  readonly #line: Waiter[] = [];
  readonly #reference: WeakRef<RwLock>;

  constructor(readonly control: ControlWords) {
    this.words = control.canLock ? control.words : noWords;
    if (!control.canLock) this.free = never;
    this.flagAt = control.flagAt;
    this.me = control.slot + 1;
    control.native.onEntered = (entry) => this.#entered(entry);
    this.#reference = new WeakRef(this);
    openLocks.add(this.#reference);
    forgetCollected.register(this, this.#reference, this);
  }

  /** Whether this attachment holds it now, for whichever caller. */
  get holding(): Access | undefined {
    if (this.held === NOTHING) return undefined;
    return this.held === WRITING ? 'write' : 'read';
  }

  // ---- writing ----

  /** Without waiting. Undefined = not to be had now. */
  tryEnterWrite(): boolean | undefined {
    if (this.held !== NOTHING || this.entering || this.#line.length > 0) return undefined;
    this.#checkCanLock();
    return this.#tryEnterWrite();
  }

  #tryEnterWrite(): boolean | undefined {
    const taken = this.takeWord();
    if (taken && !this.hasReaders()) return this.beginWrite();
    // Not as free as usual: readers, of whom some may be dead; sleepers' flags, an abandoned mark; or really taken.
    const entry = this.#enterNow(taken ? DRAIN : WRITE, 0);
    return entry === NOT_YET ? undefined : this.beginWrite(entry === ENTERED_ABANDONED);
  }

  enterWriteSync(timeoutMs: number): boolean {
    if (this.held === NOTHING && !this.entering && this.takeWord()) {
      if (!this.hasReaders()) return this.beginWrite();
      return this.beginWrite(this.#waitSync(DRAIN, timeoutMs));
    }
    if (this.held !== NOTHING) throw this.#deadlock('write');
    if (!this.entering) this.#checkCanLock();
    return this.beginWrite(this.#waitSync(WRITE, timeoutMs));
  }

  async enterWrite(options: WaitOptions): Promise<boolean> {
    return this.#enter('write', options);
  }

  /**
   * Calls `inside` as soon as the lock is held, at once or later; it leaves before it returns. In between no other code
   * of this thread runs, which would find the lock held after a promise was resolved and before its owner goes on.
   */
  enterWriteThen(inside: (abandoned: boolean) => void, reject: (reason: unknown) => void): void {
    this.#line.push({ access: 'write', resolve: inside, reject, deadline: undefined });
    if (this.#line.length === 1) this.#advance();
  }

  // L1: the word goes from free to ours in one step.
  private takeWord(): boolean {
    const { words, free } = this;
    const found = Atomics.compareExchange(words, writerAt, free, free | this.me);
    if (found === free) return true;
    // Somebody has become the first reader of all since we last looked.
    if (found !== bits.readers || free === never) return false;
    this.free = found;
    return Atomics.compareExchange(words, writerAt, found, found | this.me) === found;
  }

  /** L2: looks at the flags after the word was taken. */
  private hasReaders(): boolean {
    return this.free !== 0 && this.control.anyReader();
  }

  // L6: the version is odd before the first store into the data. What dies from here on leaves it so.
  private beginWrite(abandoned = false): boolean {
    const { words } = this;
    this.held = WRITING;
    this.abandoned = abandoned;
    const version = words[versionAt] as number;
    const odd = (version + 1) | 1;
    if (version < 0 && odd >= 0) words[versionAt + 1] = (words[versionAt + 1] as number) + 1;
    words[versionAt] = odd;
    fence();
    return abandoned;
  }

  /**
   * After a completed write: what was abandoned is whole again, and those who wait for a change are told.
   * `unchanged`: nothing was stored; nobody is told, and the version is what it was before.
   */
  leaveWrite(unchanged = false): void {
    if (this.held !== WRITING) throw this.control.closed ? this.control.closedError() : this.#notOwned();
    const { words, free } = this;
    const version = words[versionAt] as number;
    fence();
    if (!unchanged) {
      const even = version + 1;
      if (version === -1) words[versionAt + 1] = (words[versionAt + 1] as number) + 1;
      words[versionAt] = even;
    } else if (!this.abandoned) {
      words[versionAt] = version - 1;
    }
    this.held = NOTHING;
    if (this.abandoned || Atomics.compareExchange(words, writerAt, free | this.me, free) !== (free | this.me)) {
      this.#succeed(this.control.native.leaveWrite(this.abandoned && !unchanged));
    }
    if (!unchanged && loadAfter(words, changeWaitersAt) !== 0) this.control.native.notifyChange();
    if (this.#line.length > 0) this.#advance();
  }

  // ---- reading ----

  tryEnterRead(): boolean | undefined {
    if (this.held > 0) {
      this.held++;
      return this.abandoned;
    }
    if (this.held !== NOTHING || this.entering || this.#line.length > 0) return undefined;
    this.#checkCanLock();
    return this.#tryEnterRead();
  }

  #tryEnterRead(): boolean | undefined {
    if (this.raiseFlag()) return this.beginRead();
    const entry = this.#enterNow(READ, 0);
    return entry === NOT_YET ? undefined : this.beginRead(entry === ENTERED_ABANDONED);
  }

  enterReadSync(timeoutMs: number): boolean {
    if (this.held === NOTHING && !this.entering && this.raiseFlag()) return this.beginRead();
    if (this.held > 0) {
      this.held++;
      return this.abandoned;
    }
    if (this.held === WRITING) throw this.#deadlock('read');
    if (!this.entering) this.#checkCanLock();
    return this.beginRead(this.#waitSync(READ, timeoutMs));
  }

  async enterRead(options: WaitOptions): Promise<boolean> {
    return this.#enter('read', options);
  }

  // L2: raises the flag, then looks at the word.
  private raiseFlag(): boolean {
    const { words, flagAt } = this;
    if (!this.registered) {
      if (this.free === never) return false;
      this.control.native.registerReader();
      this.registered = true;
      this.free = bits.readers;
    }
    Atomics.store(words, flagAt, 1);
    if (loadAfter(words, writerAt) === bits.readers) return true;
    this.lowerFlag();
    return false;
  }

  private lowerFlag(): void {
    Atomics.store(this.words, this.flagAt, 0);
    // L3: the owner raises drainWaits before its last look at the flags.
    if (loadAfter(this.words, drainWaitsAt) !== 0) this.control.native.wakeDrainer();
  }

  private beginRead(abandoned = false): boolean {
    this.held = 1;
    this.abandoned = abandoned;
    return abandoned;
  }

  leaveRead(): void {
    if (this.held <= NOTHING) throw this.control.closed ? this.control.closedError() : this.#notOwned();
    if (--this.held === NOTHING) this.lowerFlag();
    if (this.#line.length > 0) this.#advance();
  }

  // ---- running a function inside ----

  acquireWriteSync(options: WriteSyncOptions | undefined): Hold {
    return options === undefined
      ? this.holdWrite(this.enterWriteSync(Number.POSITIVE_INFINITY), undefined)
      : this.holdWrite(this.enterWriteSync(checkTimeout(options.timeoutMs)), options.onAbandoned);
  }

  writeSync<S, T>(subject: S, fn: (subject: S, hold: Hold) => T, options: WriteSyncOptions | undefined): T {
    return this.runWrite(subject, fn, this.acquireWriteSync(options));
  }

  readSync<S, T>(subject: S, fn: (subject: S, hold: Hold) => T, options: ReadSyncOptions | undefined): T {
    const hold =
      options === undefined
        ? this.holdRead(this.enterReadSync(Number.POSITIVE_INFINITY), undefined)
        : this.holdRead(this.enterReadSync(checkTimeout(options.timeoutMs)), options.onAbandoned);
    return this.runRead(subject, fn, hold);
  }

  tryWrite<S, T>(subject: S, fn: (subject: S, hold: Hold) => T, options: OnAbandonedWrite): T | undefined {
    const entered = this.tryEnterWrite();
    if (entered === undefined) return undefined;
    return this.runWrite(subject, fn, this.holdWrite(entered, options.onAbandoned));
  }

  tryRead<S, T>(subject: S, fn: (subject: S, hold: Hold) => T, options: OnAbandonedRead): T | undefined {
    const entered = this.tryEnterRead();
    if (entered === undefined) return undefined;
    return this.runRead(subject, fn, this.holdRead(entered, options.onAbandoned));
  }

  private runWrite<S, T>(subject: S, fn: (subject: S, hold: Hold) => T, hold: Hold): T {
    let completed = false;
    try {
      const result = settled(fn(subject, hold));
      completed = true;
      return result;
    } finally {
      this.#leave('write', completed);
    }
  }

  private runRead<S, T>(subject: S, fn: (subject: S, hold: Hold) => T, hold: Hold): T {
    try {
      return settled(fn(subject, hold));
    } finally {
      this.#leave('read', true);
    }
  }

  async write<S, T>(subject: S, fn: (subject: S, hold: Hold) => T | PromiseLike<T>, options: WriteOptions): Promise<T> {
    const entered = this.#enter('write', options);
    const hold = this.holdWrite(typeof entered === 'boolean' ? entered : await entered, options.onAbandoned);
    return this.#runAsync('write', () => fn(subject, hold));
  }

  async read<S, T>(subject: S, fn: (subject: S, hold: Hold) => T | PromiseLike<T>, options: ReadOptions): Promise<T> {
    const entered = this.#enter('read', options);
    const hold = this.holdRead(typeof entered === 'boolean' ? entered : await entered, options.onAbandoned);
    return this.#runAsync('read', () => fn(subject, hold));
  }

  async #runAsync<T>(access: Access, fn: () => T | PromiseLike<T>): Promise<T> {
    let completed = false;
    try {
      if (this.control.closed) throw this.control.closedError(); // since we were let in
      const result = await runHolding(this.control, access, fn);
      completed = true;
      return result;
    } finally {
      this.#leave(access, completed);
    }
  }

  /**
   * A write that threw has changed the data all the same, as far as anybody can know; but it has not repaired what was
   * abandoned.
   */
  #leave(access: Access, completed: boolean): void {
    if (this.control.closed) {
      if (completed) throw this.control.closedError(); // closed inside: what was held went with it
      return;
    }
    if (access === 'read') this.leaveRead();
    else this.leaveWrite(!completed && this.abandoned);
  }

  /** What an entry means to the caller: the hold, or ERR_NDSHM_ABANDONED, with the lock let go again. */
  holdWrite(abandoned: boolean, onAbandoned: OnAbandonedWrite['onAbandoned']): Hold {
    if (!abandoned && onAbandoned === undefined) return intact;
    try {
      if (onAbandoned !== undefined) oneOf(onAbandoned, ['error', 'repair'], 'onAbandoned');
      if (!abandoned) return intact;
      if (onAbandoned === 'repair') return halfWritten;
      throw this.#abandonedError("pass onAbandoned: 'repair' and write it anew");
    } catch (error) {
      this.leaveWrite(true);
      throw error;
    }
  }

  holdRead(abandoned: boolean, onAbandoned: OnAbandonedRead['onAbandoned']): Hold {
    if (!abandoned && onAbandoned === undefined) return intact;
    try {
      if (onAbandoned !== undefined) oneOf(onAbandoned, ['error', 'ignore'], 'onAbandoned');
      if (!abandoned) return intact;
      if (onAbandoned === 'ignore') return halfWritten;
      throw this.#abandonedError("wait until it is repaired, or pass onAbandoned: 'ignore' to read it as it is");
    } catch (error) {
      this.leaveRead();
      throw error;
    }
  }

  // ---- waiting ----

  /** Blocks until inside; whether it is abandoned. */
  #waitSync(access: typeof READ | typeof WRITE | typeof DRAIN, timeoutMs: number): boolean {
    const end = timeoutMs === Number.POSITIVE_INFINITY ? timeoutMs : performance.now() + timeoutMs;
    const neighbours = this.#neighbours();
    try {
      // The native thread and we are one peer: two of us on the way in would take each other's steps for their own.
      const arrived = this.#stopEntering();
      if (arrived !== NOT_YET) {
        if (numberOf[this.#enteringFor] === access) return arrived === ENTERED_ABANDONED;
        this.#undo(this.#enteringFor);
      }
      // Nor may the native thread of a neighbour get in, who could not go on before we return.
      for (const neighbour of neighbours) neighbour.#standBack();
      // One who holds it cannot let go before we return, either; but readers may get in together.
      const mustNotWait = neighbours.some(({ held }) => held !== NOTHING);
      for (let wanted = access; ; ) {
        const left = mustNotWait ? 0 : end - performance.now();
        const isLast = left <= blockingSliceMs;
        const entry = this.#enterNow(wanted, isLast ? left : blockingSliceMs, !isLast);
        if (entry === DRAINING) wanted = DRAIN;
        else if (entry !== NOT_YET) return entry === ENTERED_ABANDONED;
        else if (isLast) break;
      }
      if (mustNotWait) throw this.#deadlock(access === READ ? 'read' : 'write');
      throw this.control.timeoutError(access === READ ? 'Reading' : 'Writing', timeoutMs);
    } catch (error) {
      this.#advance();
      throw error;
    } finally {
      for (const neighbour of neighbours) neighbour.#advance();
    }
  }

  #enterNow(access: typeof READ | typeof WRITE | typeof DRAIN, timeoutMs: number, comesAgain = false): EntryNumber {
    return this.#succeed(this.control.native.enter(access, timeoutMs, comesAgain));
  }

  /** At once where nobody is in the way, without a promise. */
  #enter(access: Access, options: WaitOptions): boolean | Promise<boolean> {
    checkSignal(options.signal);
    checkTimeout(options.timeoutMs);
    this.#checkCanLock();
    if (this.#line.length === 0 && this.held === NOTHING && !this.entering) {
      const entered = access === 'write' ? this.#tryWriteFast() : this.#tryReadFast();
      if (entered !== undefined) return entered;
    }
    const callers = heldByCaller(this.control);
    if (callers !== undefined) {
      // In line behind a writer, who waits for the caller's own read lock, it would wait for itself.
      const entered = callers === 'read' && access === 'read' ? this.tryEnterRead() : undefined;
      if (entered === undefined) throw this.#deadlock(access);
      return entered;
    }
    return new Promise<boolean>((resolve, reject) => {
      const waiter: Waiter = { access, resolve, reject, deadline: undefined };
      this.#line.push(waiter);
      if (this.#line.length === 1) this.#advance();
      if (!this.#line.includes(waiter)) return;
      const leave = (reason: unknown) => {
        this.#line.splice(this.#line.indexOf(waiter), 1);
        reject(reason);
        this.#advance();
      };
      waiter.deadline = new Deadline(
        options,
        (timeoutMs) => leave(this.control.timeoutError(access === 'read' ? 'Reading' : 'Writing', timeoutMs)),
        leave,
      );
    });
  }

  /** Lets in whoever is first in line, and may; or sees to it that a native thread waits for him. */
  #advance(): void {
    for (;;) {
      const first = this.#line[0];
      if (this.entering) {
        if (first?.access === this.#enteringFor) return;
        this.#standBack(); // whom it waited for has gone
      }
      if (first === undefined || this.held === WRITING) return;
      if (this.held > 0) {
        // Readers join readers, unless a writer waits somewhere.
        if (first.access === 'write' || loadAfter(this.words, writerAt) !== bits.readers) return;
        this.held++;
        this.#admit(this.abandoned);
        continue;
      }
      try {
        const entered = first.access === 'write' ? this.#tryWriteFast() : this.#tryReadFast();
        if (entered !== undefined) {
          this.#admit(entered);
          continue;
        }
        this.#enteringFor = first.access;
        this.#succeed(this.control.native.enterLater(numberOf[first.access]));
        this.entering = true;
        return;
      } catch (error) {
        this.#refuse(error);
      }
    }
  }

  #tryWriteFast(): boolean | undefined {
    if (!this.takeWord()) return undefined;
    if (!this.hasReaders()) return this.beginWrite();
    this.#succeed(this.control.native.leaveWrite(false));
    return undefined;
  }

  #tryReadFast(): boolean | undefined {
    return this.raiseFlag() ? this.beginRead() : undefined;
  }

  #admit(abandoned: boolean): void {
    const waiter = this.#line.shift() as Waiter;
    waiter.deadline?.clear();
    waiter.resolve(abandoned);
  }

  #refuse(reason: unknown): void {
    const waiter = this.#line.shift() as Waiter;
    waiter.deadline?.clear();
    waiter.reject(reason);
  }

  /** The native thread is inside, for us. */
  #entered(entry: EntryNumber | Failure): void {
    this.entering = false;
    if (typeof entry === 'object') {
      if (this.#line.length > 0) this.#refuse(this.control.errorOf(entry));
    } else if (entry !== NOT_YET) {
      const abandoned = entry === ENTERED_ABANDONED;
      if (this.#enteringFor === 'write') this.beginWrite(abandoned);
      else this.beginRead(abandoned);
      this.#admit(abandoned);
    }
    this.#advance();
  }

  /** Ends the native thread's way in; it may have arrived. */
  #stopEntering(): EntryNumber {
    if (!this.entering) return NOT_YET;
    this.entering = false;
    const entry = this.control.native.stopEntering();
    // Corrupt words are reported to whoever asks next: this may run in a timer, where nobody would catch it.
    return typeof entry === 'number' ? entry : NOT_YET;
  }

  /** Out again, after an entry that nobody wants any more, before anything was done inside. */
  #undo(access: Access): void {
    // If the word is no longer ours, there is nothing to let go.
    if (access === 'write') this.control.native.leaveWrite(false);
    else this.lowerFlag();
  }

  // ---- what can be wrong ----

  #checkCanLock(): void {
    this.control.subject.check();
    if (this.control.canLock) return;
    throw typeError(
      'ERR_NDSHM_READ_ONLY',
      `This user may not write to ${this.control.subject.who}, and so cannot take its lock; snapshot() reads without`,
    );
  }

  /** Other attachments of this very thread to the same segment, who could only go on once we return. */
  #neighbours(): RwLock[] {
    const neighbours: RwLock[] = [];
    for (const reference of openLocks) {
      const other = reference.deref();
      if (other === undefined || other === this || (other.held === NOTHING && !other.entering)) continue;
      if (other.control.isSameSegment(this.control)) neighbours.push(other);
    }
    return neighbours;
  }

  /** Ends the native thread's way in until #advance(). */
  #standBack(): void {
    if (this.#stopEntering() !== NOT_YET) this.#undo(this.#enteringFor);
  }

  #deadlock(access: Access): CodedError {
    const holds = this.held > 0 ? 'a read lock' : 'a lock';
    return stateError(
      'ERR_NDSHM_DEADLOCK',
      `The caller, or another one in its thread, holds ${holds} on ${this.control.subject.who} and would wait for itself to ${access} it`,
    );
  }

  #notOwned(): CodedError {
    return stateError('ERR_NDSHM_NOT_OWNED', `The lock of ${this.control.subject.who} is not held here`);
  }

  #abandonedError(remedy: string): CodedError {
    return stateError(
      'ERR_NDSHM_ABANDONED',
      `A process died while it was writing ${this.control.subject.who}, which may be half-written: ${remedy}`,
    );
  }

  #succeed<T>(outcome: T | Failure): T {
    return this.control.succeed(outcome);
  }

  /** Rejects everybody in line. What is held is left as if this process had died: a write in its middle is abandoned. */
  close(): void {
    openLocks.delete(this.#reference);
    forgetCollected.unregister(this);
    const arrived = this.#stopEntering();
    if (arrived !== NOT_YET) this.#undo(this.#enteringFor);
    if (this.held !== NOTHING || this.registered) this.control.native.abandon();
    this.held = NOTHING;
    this.words = noWords;
    this.free = never;
    for (const waiter of this.#line.splice(0)) {
      waiter.deadline?.clear();
      waiter.reject(this.control.closedError());
    }
  }
}
