import { existsSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import * as ndshm from 'ndshm';
import * as classes from '../manager/fixtures/classes';
import { type ChildOptions, Peer, type PeerContext } from './child';

export type Classes = Pick<typeof classes, 'Ledger' | 'Witness' | 'AsyncWitness' | 'Workshop'>;
export type TestManager = ndshm.Manager & ndshm.ManagerMakers<Classes>;
export type Workshop = ndshm.Proxied<classes.Workshop>;

/** What the managers of tests host. */
export const classesFile = join(__dirname, '../manager/fixtures/classes.js');

const made: ndshm.Manager[] = [];
const pids = new Set<number>();
const gates: Gate[] = [];

function kept<M extends ndshm.Manager>(manager: M): M {
  made.push(manager);
  return manager;
}

/** A manager in a process of its own, with the classes of the fixtures. Closed after the test file, as all of these are. */
export async function startManager(options: ndshm.ManagerStartOptions = {}): Promise<TestManager> {
  const manager = kept(await ndshm.Manager.start<Classes>({ modules: [classesFile], ...options }));
  pids.add((await manager.info()).pid);
  return manager;
}

/** The same in this process, whose modules jest loads. */
export async function serveManager(options: ndshm.ManagerServeOptions = {}): Promise<TestManager> {
  const manager = kept(await ndshm.Manager.serve<Classes>(options));
  const { AsyncWitness, Ledger, Witness, Workshop } = classes;
  for (const Class of [AsyncWitness, Ledger, Witness, Workshop]) await manager.register(Class.name, Class);
  return manager;
}

const given = <T>(key: string, value: T | undefined) => (value === undefined ? {} : { [key]: value });

const toConnect = (
  { address, authKey }: { address: string; authKey?: Uint8Array | undefined },
  options: Partial<ndshm.ManagerConnectOptions>,
): ndshm.ManagerConnectOptions => ({ address, ...given('authKey', authKey), ...options });

/** Another connection of this process. */
export const connectTo = async (
  manager: { address: string; authKey?: Uint8Array | undefined },
  options: Partial<ndshm.ManagerConnectOptions> = {},
): Promise<TestManager> => kept(await ndshm.Manager.connect<Classes>(toConnect(manager, options)));

/** The ways that bytes can go. */
export const ways = ['a ring', 'a socket', 'TLS', 'memory alone'] as const;
export type Way = (typeof ways)[number];

/** A manager, and a client that is connected to it so; in another process, but for the last of the ways. */
export async function pairBy(way: Way): Promise<{ manager: TestManager; client: TestManager }> {
  if (way === 'memory alone') {
    const manager = await serveManager();
    return { manager, client: manager };
  }
  const manager = await startManager(way === 'TLS' ? { address: 'tcp://127.0.0.1:0' } : {});
  return { manager, client: await connectTo(manager, { sharedMemory: way === 'a ring' }) };
}

interface ClientContext extends PeerContext {
  readonly kept: Map<string, unknown> & { get(key: 'manager'): TestManager };
}

/** A child process that is connected to a manager, which its functions find as kept.get('manager'). */
export interface Client extends Omit<Peer, 'run'> {
  run<A extends unknown[], T>(fn: (context: ClientContext, ...args: A) => T | Promise<T>, ...args: A): Promise<T>;
}

export async function clientOf(
  manager: { address: string; authKey?: Uint8Array | undefined },
  options: Partial<ndshm.ManagerConnectOptions> = {},
  how: ChildOptions & { readonly thread?: boolean } = {},
): Promise<Client> {
  const peer = await Peer.start(how);
  await peer.run(
    async ({ ndshm, kept }, options) => {
      kept.set('manager', await ndshm.Manager.connect(options));
    },
    toConnect(manager, options),
  );
  return peer as unknown as Client;
}

/** Stands between a client and a manager, and holds back what the manager says as long as it is shut. */
export class Gate {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #held: (() => void)[] | undefined;

  private constructor(
    readonly address: string,
    to: string,
  ) {
    this.#server = createServer((client) => {
      const manager = connect(to);
      for (const socket of [client, manager]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
      }
      client.pipe(manager);
      manager.on('data', (bytes) => this.#pass(() => client.write(bytes)));
      manager.on('close', () => this.#pass(() => client.destroy()));
      client.on('close', () => manager.destroy());
    });
    gates.push(this);
  }

  /** For connections without shared memory: what goes by a ring is not seen here. */
  static async before(manager: ndshm.Manager): Promise<Gate> {
    const gate = new Gate(`${manager.address}.gate-${gates.length}`, manager.address);
    await new Promise<void>((done) => gate.#server.listen(gate.address, done));
    return gate;
  }

  #pass(what: () => void): void {
    if (this.#held === undefined) what();
    else this.#held.push(what);
  }

  shut(): void {
    this.#held ??= [];
  }

  open(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const pass of held) pass();
  }

  /** Ends all connections; new ones can come. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

export const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);

afterAll(async () => {
  for (const gate of gates) gate.close();
  await Promise.all(made.map((manager) => manager.close()));
  expect([...pids].filter(isAlive)).toEqual([]);
});
