import fc from 'fast-check';
import { FakeCaller, fatesOf } from './callers';

// What waits, and what ends a wait, in any order in one turn of the event loop: the same is done with an object and with a
// model of it, which says in the simplest way who gets what.

interface Request {
  readonly caller: number;
  readonly line: string;
  /** What becomes of it if it comes first in its line; undefined = it waits. */
  readonly step: () => string | undefined;
  fate: string;
}

/** Callers wait in lines, the first to come first; who goes waits no longer. */
export abstract class WaitingModel {
  readonly #gone = new Set<number>();
  #waiting: Request[] = [];

  /** Takes from the caller what it holds. */
  protected abstract leave(caller: number): void;

  isGone(caller: number): boolean {
    return this.#gone.has(caller);
  }

  request(caller: number, line: string, step: Request['step']): Request {
    const request = { caller, line, step, fate: this.isGone(caller) ? 'gone' : 'pending' };
    if (!this.isGone(caller)) this.#waiting.push(request);
    this.settle();
    return request;
  }

  giveUp(request: Request, fate: string): void {
    if (!this.#waiting.includes(request)) return;
    this.#waiting = this.#waiting.filter((each) => each !== request);
    request.fate = fate;
  }

  end(caller: number): void {
    this.#gone.add(caller);
    for (const request of this.#waiting) if (request.caller === caller) this.giveUp(request, 'gone');
    this.leave(caller);
    this.settle();
  }

  settle(): void {
    const stuck = new Set<string>();
    for (;;) {
      const first = this.#waiting.find(({ line }) => !stuck.has(line));
      if (first === undefined) return;
      const fate = first.step();
      if (fate === undefined) stuck.add(first.line);
      else {
        this.giveUp(first, fate);
        stuck.clear();
      }
    }
  }
}

export const callerCount = 3;
export const anyCaller = fc.nat(callerCount - 1);

/** What may happen beside the calls of an object. */
export const anyEnd = fc.oneof(
  { weight: 3, arbitrary: fc.record({ act: fc.constant('abort' as const), request: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constant('end' as const), caller: anyCaller }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constantFrom('time is up' as const, 'turn' as const) }) },
);
type End = typeof anyEnd extends fc.Arbitrary<infer T> ? T : never;

type Options = { signal: AbortSignal; timeoutMs?: number };

export class Trial<M extends WaitingModel> {
  readonly callers = Array.from({ length: callerCount }, () => new FakeCaller());
  readonly #requests: { model: Request; real: Promise<unknown>; controller: AbortController; timed: boolean }[] = [];

  constructor(readonly model: M) {}

  caller(n: number): FakeCaller {
    return this.callers[n] as FakeCaller;
  }

  /** `timed`: only until the next 'time is up'. */
  request(model: Request, real: (caller: FakeCaller, options: Options) => Promise<unknown>, timed: boolean): void {
    const controller = new AbortController();
    const promise = real(this.caller(model.caller), { signal: controller.signal, ...(timed ? { timeoutMs: 1 } : {}) });
    promise.catch(() => {});
    this.#requests.push({ model, real: promise, controller, timed });
  }

  async happen(end: End): Promise<void> {
    switch (end.act) {
      case 'abort': {
        const request = this.#requests[end.request];
        request?.controller.abort(new Error('aborted'));
        if (request !== undefined) this.model.giveUp(request.model, 'aborted');
        return;
      }
      case 'end':
        this.caller(end.caller).end();
        this.model.end(end.caller);
        return;
      case 'time is up':
        jest.advanceTimersByTime(2);
        for (const { model, timed } of this.#requests) if (timed) this.model.giveUp(model, 'ERR_NDSHM_TIMEOUT');
        return;
      case 'turn':
        await new Promise(setImmediate);
    }
  }

  /** Whether every call has had the fate that the model says. */
  async check(): Promise<void> {
    const fates = (await fatesOf(this.#requests.map(({ real }) => real))).map((fate) =>
      String(fate).replace(/^caller .* has gone$/, 'gone'),
    );
    expect(fates).toEqual(this.#requests.map(({ model }) => model.fate));
  }
}

/** Time passes at 'time is up' alone. */
export async function always<S>(step: fc.Arbitrary<S>, run: (steps: S[]) => Promise<void>): Promise<void> {
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask', 'performance'] });
  try {
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 30 }), run), { numRuns: 300 });
  } finally {
    jest.useRealTimers();
  }
}
