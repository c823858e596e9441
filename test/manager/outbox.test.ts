import { Manager } from 'ndshm';
import { Outbox } from '../../dist/manager/outbox';

const said: unknown[] = [];
const outbox = () =>
  new Outbox(
    (message) => said.push(message),
    (error) => said.push(error),
  );
beforeEach(() => {
  said.length = 0;
});

const call = (target: number, ...args: unknown[]) => ['push', ['pipeline', target, ['call'], args]];

describe('the messages of a turn', () => {
  test('say a call and the wish for its result in one, and nothing of its release', () => {
    const out = outbox();
    out.add(call(-1, 'a'));
    out.add(['pull', 1]);
    out.add(call(-1, 'b'));
    out.add(['pull', 2]);
    expect(said).toEqual([]);
    out.flush();
    expect(said).toEqual([
      ['stream', call(-1, 'a')[1]],
      ['stream', call(-1, 'b')[1]],
    ]);
    out.add(['release', 1, 1]);
    out.add(['release', 2, 1]);
    out.flush();
    expect(said).toHaveLength(2);
  });

  test('leave a call as it is on whose result something is called', () => {
    const out = outbox();
    const messages = [call(0, 'make'), call(1, 'get'), ['pull', 1], ['pull', 2]];
    for (const message of messages) out.add(message);
    out.flush();
    expect(said).toEqual([messages[0], ['stream', (messages[1] as unknown[])[1]], messages[2]]);
    out.add(['release', 1, 1]);
    out.flush();
    expect(said.at(-1)).toEqual(['release', 1, 1]);
  });

  test('leave a call as it is whose result is not wanted, or later', () => {
    const out = outbox();
    out.add(call(0, 'make'));
    out.flush();
    out.add(['pull', 1]);
    out.flush();
    expect(said).toEqual([call(0, 'make'), ['pull', 1]]);
  });

  test('count pipes and streams as calls are counted', () => {
    const out = outbox();
    out.add(['pipe']);
    out.add(['stream', ['pipeline', 1, ['write'], [1]]]);
    out.add(call(-1, 'a'));
    out.add(['pull', 3]);
    out.flush();
    expect(said.map((message) => (message as unknown[])[0])).toEqual(['pipe', 'stream', 'stream']);
  });

  test('keep their order', () => {
    const out = outbox();
    const messages = [['release', 9, 1], call(-1, 'a'), ['resolve', -3, 5], ['pull', 1], ['abort', 0]];
    for (const message of messages) out.add(message);
    out.flush();
    expect(said).toEqual([messages[0], ['stream', (messages[1] as unknown[])[1]], messages[2], messages[4]]);
  });

  test('are handed over when the turn ends, and an error is told', async () => {
    const failure = new Error('cannot be sent');
    const told = new Promise((resolve) => {
      const out = new Outbox(() => {
        throw failure;
      }, resolve);
      out.add(['release', 1, 1]);
    });
    expect(await told).toBe(failure);
  });
});

test('what a call will give can be called in the same turn, and in later ones', async () => {
  const manager = await Manager.serve();
  try {
    await manager.register(
      'Slow',
      class {
        answer = 42;
        get() {
          return this.answer;
        }
        async self(until: () => Promise<void>) {
          await until();
          return this;
        }
      },
    );
    const slow = (await manager.make('Slow')) as unknown as {
      self(until: () => Promise<void>): Promise<unknown> & { get(): Promise<number> };
    };
    let letGo = () => {};
    const door = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const pending = slow.self(() => door);
    const same = pending.get();
    await manager.info(); // a round trip: the turn of the call is over
    const later = pending.get();
    letGo();
    expect(await Promise.all([same, later])).toEqual([42, 42]);
    await pending;
    expect(await pending.get()).toBe(42);
  } finally {
    await manager.close();
  }
});
