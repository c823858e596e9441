import { spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { Child } from '../helpers/child';
import { handshake, key, otherKey } from '../helpers/manager-net';

// Two hosts, as far as the network is concerned: two network namespaces with a cable between them.

const names = ['server', 'client'].map((role) => `ndshm-${process.pid}-${role}`) as [string, string];
const cable = ['s', 'c'].map((end) => `nd${process.pid}${end}`) as [string, string];
// One of the nets for tests of network devices (RFC 2544), which nobody is in.
const serverHost = '198.18.231.1';

function ip(command: string): void {
  const { status, error, stderr } = spawnSync('ip', command.split(' '), { encoding: 'utf8' });
  if (status === 0) return;
  throw new Error(
    `This test makes network namespaces, for which it has to be root and needs the ip program (iproute2). 'ip ${command}': ${error?.message ?? stderr}`,
  );
}

const children: Child[] = [];

async function childIn(namespace: string): Promise<Child> {
  const child = new Child('manager-netns.js', [], { wrap: ['ip', 'netns', 'exec', namespace] });
  children.push(child);
  if ((await child.message()) !== 'ready') throw new Error('Expected the child to be ready');
  return child;
}

const ask = <T>(child: Child, ...deed: unknown[]): Promise<T> => {
  child.send(deed);
  return child.message<T>();
};

const secret = key.toString();
let server: Child;
let client: Child;
let address: string;

beforeAll(async () => {
  for (const name of names) ip(`netns add ${name}`);
  ip(`link add ${cable[0]} netns ${names[0]} type veth peer name ${cable[1]} netns ${names[1]}`);
  names.forEach((name, n) => {
    ip(`-n ${name} addr add ${n === 0 ? serverHost : '198.18.231.2'}/24 dev ${cable[n]}`);
    ip(`-n ${name} link set ${cable[n]} up`);
    ip(`-n ${name} link set lo up`);
  });
  server = await childIn(names[0]);
  client = await childIn(names[1]);
  address = `tcp://${serverHost}:${await ask<number>(server, 'serve', `tcp://${serverHost}:0`, secret)}`;
});

afterAll(async () => {
  await Promise.all(children.map((child) => child.kill()));
  for (const name of names) spawnSync('ip', ['netns', 'delete', name]);
});

interface Seen {
  readonly accepted: number;
  readonly refused: { readonly code: string; readonly from: string }[];
}
const seen = (): Promise<Seen> => ask<Seen>(server, 'seen');

/** What the server has seen of one attempt: accepted, or refused for what. */
async function during<T>(attempt: () => Promise<T>): Promise<{ result: T; accepted: number; refused: unknown[] }> {
  const before = await seen();
  const result = await attempt();
  let after = await seen();
  // The client may know before the server does.
  while (after.accepted + after.refused.length === before.accepted + before.refused.length) after = await seen();
  return {
    result,
    accepted: after.accepted - before.accepted,
    refused: after.refused.slice(before.refused.length),
  };
}

const refusedFor = (code: string) => [{ code, from: '198.18.231.2' }];

describe('a client on another host', () => {
  test('is one: all three are in networks of their own', () => {
    const networks = ['self', server.pid, client.pid].map((pid) => readlinkSync(`/proc/${pid}/ns/net`));
    expect(new Set(networks).size).toBe(3);
  });

  test('is served with the right key', async () => {
    expect(await during(() => ask(client, 'call', address, secret, 'hello'))).toEqual({
      result: 'hello',
      accepted: 1,
      refused: [],
    });
  });

  test('passes an array by copy', async () => {
    expect(await ask(client, 'sum', address, secret, 200_000)).toBe(100_000);
  });

  test('is refused with a wrong key', async () => {
    expect(await during(() => ask(client, 'call', address, otherKey.toString(), 'hello'))).toEqual({
      result: 'ERR_NDSHM_AUTH',
      accepted: 0,
      refused: refusedFor('ERR_NDSHM_AUTH'),
    });
  });

  test('is refused by plain TCP', async () => {
    const hello = handshake.hello(Buffer.alloc(32)).toString('hex');
    const { result, accepted, refused } = await during(() => ask<string>(client, 'send', address, hello));
    expect({ accepted, refused }).toEqual({ accepted: 0, refused: refusedFor('ERR_NDSHM_PROTOCOL') });
    // At most an alert of TLS comes back.
    expect(result).toMatch(/^(15030[0-4]0002....)?$/);
  });

  test('is refused with a handshake that was recorded', async () => {
    const { result, accepted } = await during(() =>
      ask<{ answer: string; recorded: string }>(client, 'callRecorded', address, secret, 'the secret'),
    );
    expect([result.answer, accepted]).toEqual(['the secret', 1]);
    const replayed = await during(() => ask<string>(client, 'send', address, result.recorded));
    expect({ accepted: replayed.accepted, refused: replayed.refused }).toEqual({
      accepted: 0,
      refused: refusedFor('ERR_NDSHM_AUTH'),
    });
    expect(Buffer.from(replayed.result, 'hex').includes('the secret')).toBe(false);
  });

  test('is served afterwards as before', async () => {
    expect(await ask(client, 'call', address, secret, 'hello')).toBe('hello');
  });
});
