import { EventEmitter, once } from 'node:events';

/** What the answers were like in the course of the training.. */
export class Tally extends EventEmitter {
  torn = 0;
  #steps;

  constructor(steps) {
    super();
    this.#steps = Array.from({ length: steps + 1 }, () => ({ answers: 0, right: 0 }));
  }

  add({ step, torn }, isRight) {
    const at = this.#steps[step];
    at.answers++;
    if (isRight) at.right++;
    if (torn) this.torn++;
    this.emit('answer');
  }

  get stepsSeen() {
    return this.#steps.filter(({ answers }) => answers > 0).length;
  }

  /** The share of right answers from step `first` up to and without step `end`; NaN where there were none. */
  accuracy(first, end = first + 1) {
    let answers = 0;
    let right = 0;
    for (const at of this.#steps.slice(first, end)) {
      answers += at.answers;
      right += at.right;
    }
    return right / answers;
  }

  /** Resolves after so many answers of this step. Rejects if that takes longer than `timeoutMs`. */
  async reached(step, answers, timeoutMs) {
    const signal = AbortSignal.timeout(timeoutMs);
    while (this.#steps[step].answers < answers) await once(this, 'answer', { signal });
  }
}
