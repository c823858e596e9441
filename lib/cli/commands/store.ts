import type { Command } from 'commander';
import type { ObjectInfo, StoreInfo } from '../../index';
import { none, type OutputOptions, print, table } from '../output';
import { allSegments, type Segment } from '../segments';
import { lookIntoStore, type OpenStoreOptions, withStore } from '../stores';
import { ageInWords, bytesInWords, countInWords, printable } from '../words';

type StoreOptions = OutputOptions & OpenStoreOptions;

/** A store seen from outside. */
interface StoreSummary {
  readonly name: string;
  readonly capacityBytes: number;
  /** Of memory that exists, for itself and its objects. */
  readonly allocatedBytes: number;
  readonly peers: number;
  readonly createdAt: Date | null;
  readonly leftover: boolean;
}

export function define(command: Command): void {
  const subcommand = (usage: string, summary: string) =>
    command
      .command(usage)
      .description(summary)
      .option('--json', 'print JSON')
      .option('--allow-foreign-owner', "look into another user's store, too");
  command.addHelpText('after', '\nTo look into a store attaches to it for a moment, as a process that uses it does.');
  subcommand('ls [name]', 'list the stores, or the objects in one').action(
    (name: string | undefined, _: StoreOptions, self: Command) => {
      const options = self.optsWithGlobals<StoreOptions>();
      if (name === undefined) listStores(options);
      else listObjects(name, options);
    },
  );
  subcommand('stat <name>', 'show how full a store is').action((name: string, _: StoreOptions, self: Command) => {
    const options = self.optsWithGlobals<StoreOptions>();
    const { info } = lookIntoStore(name, options);
    print(options, info, () => factsInWords(info));
  });
  subcommand('gc <name>', 'free what dead processes have left in a store').action(
    (name: string, _: StoreOptions, self: Command) => collect(name, self.optsWithGlobals<StoreOptions>()),
  );
}

function listStores(options: StoreOptions): void {
  const segments = allSegments();
  const stores = segments
    .filter(({ primitive }) => primitive?.kind === 'Store')
    .map((segment) => summaryOf(segment, segments));
  print(options, stores, () =>
    stores.length === 0
      ? 'There are no stores'
      : table(
          ['NAME', 'CAPACITY', 'SIZE', 'PEERS', 'AGE', 'NOTE'],
          stores.map(({ name, capacityBytes, allocatedBytes, peers, createdAt, leftover }) => [
            name,
            bytesInWords(capacityBytes),
            bytesInWords(allocatedBytes),
            peers,
            createdAt === null ? none : ageInWords(createdAt),
            leftover ? 'leftover' : '',
          ]),
        ),
  );
}

function summaryOf(store: Segment, segments: readonly Segment[]): StoreSummary {
  const { name, primitive, peers, createdAt, leftover } = store;
  const all = [store, ...segments.filter(({ memberOf }) => memberOf === name)];
  return {
    name,
    capacityBytes: primitive?.facts['capacityBytes'] as number,
    allocatedBytes: all.reduce((bytes, { allocatedBytes }) => bytes + allocatedBytes, 0),
    peers: peers.length,
    createdAt,
    leftover,
  };
}

function listObjects(name: string, options: StoreOptions): void {
  const { objects } = lookIntoStore(name, options);
  const sorted = [...objects].sort((a, b) => a.ref.object - b.ref.object);
  print(options, sorted, () =>
    sorted.length === 0
      ? `The store '${name}' is empty`
      : table(['OBJECT', 'STATE', 'SIZE', 'MAPPED', 'PUT BY', 'AGE'], sorted.map(objectRow)),
  );
}

const objectRow = ({ ref, state, byteLength, mapped, pid, createdAt }: ObjectInfo): (string | number)[] => [
  ref.object,
  state,
  // Nobody knows before it is sealed.
  state === 'making' ? none : bytesInWords(byteLength),
  mapped ? 'yes' : 'no',
  pid,
  ageInWords(createdAt),
];

function factsInWords(info: StoreInfo): string {
  const { capacityBytes, usedBytes, readyBytes, objects, objectBytes, spilledObjects, spilledBytes, spillDir } = info;
  const facts = {
    name: info.name,
    id: info.id,
    capacity: bytesInWords(capacityBytes),
    used: `${bytesInWords(usedBytes)}, of these ${bytesInWords(readyBytes)} ready to be used again`,
    objects: `${objects}, ${bytesInWords(objectBytes)}`,
    spilled:
      spillDir === null ? 'nowhere' : `${spilledObjects}, ${bytesInWords(spilledBytes)}, to ${printable(spillDir)}`,
  };
  return Object.entries(facts)
    .map(([fact, value]) => `${fact.padEnd(10)}${value}`)
    .join('\n');
}

function collect(name: string, options: StoreOptions): void {
  const { freedBytes, info } = withStore(name, options, (store) => ({ freedBytes: store.gc(), info: store.stat() }));
  const inUseBytes = info.usedBytes - info.readyBytes;
  print(options, { name: info.name, freedBytes, inUseBytes }, () => {
    const freed = freedBytes === 0 ? 'Nothing to free' : `Freed ${bytesInWords(freedBytes)} for new objects`;
    return `${freed}; ${countInWords(info.objects, 'object')}, ${bytesInWords(inUseBytes)} in use`;
  });
}
