import { type Command, Option } from 'commander';
import { isPattern, matching, statNamed } from '../names';
import { none, note, type OutputOptions, print, table } from '../output';
import { ownerInWords } from '../owners';
import { allSegments, kindOf, memoryInWords, type Segment, shapeInWords, stateInWords } from '../segments';
import { ageInWords, bytesInWords, countInWords, permissionsInWords, printable } from '../words';

interface LsOptions extends OutputOptions {
  readonly sort: keyof typeof orders;
}

const bornAt = ({ createdAt, modifiedAt }: Segment): Date => createdAt ?? modifiedAt;

const orders = {
  name: () => 0, // as they are listed
  size: (a: Segment, b: Segment) => b.allocatedBytes - a.allocatedBytes,
  age: (a: Segment, b: Segment) => bornAt(b).getTime() - bornAt(a).getTime(),
};

export function define(command: Command): void {
  command
    .argument('[pattern...]', "names, or patterns of names like 'demo-*'")
    .addHelpText('after', '\nSIZE is the memory that a segment occupies.')
    .addOption(
      new Option('--sort <order>', 'by name, the largest first, or the youngest first')
        .choices(Object.keys(orders))
        .default('name'),
    )
    .action((patterns: string[], options: LsOptions) => {
      const all = allSegments();
      const chosen = patterns.length === 0 ? all : choose(all, patterns);
      const segments = withMembers(chosen.sort(orders[options.sort]));
      print(options, segments, () => [drawn(segments), summary(segments)].filter((part) => part !== '').join('\n'));
      const leftovers = segments.filter(({ leftover }) => leftover).length;
      if (leftovers > 0 && options.json !== true) note(`${countInWords(leftovers, 'leftover')}; ndshm gc removes them`);
    });
}

/** A pattern may fit nothing; a name that nothing has is an error. */
function choose(all: readonly Segment[], patterns: readonly string[]): Segment[] {
  const names = all.map(({ name }) => name);
  const chosen = new Set(
    patterns.flatMap((pattern) => {
      const found = matching(pattern, names);
      return found.length > 0 || isPattern(pattern) ? found : [statNamed(pattern).name];
    }),
  );
  return all.filter(({ name }) => chosen.has(name));
}

/** Members behind their parent, wherever that goes. */
function withMembers(segments: readonly Segment[]): Segment[] {
  const names = new Set(segments.map(({ name }) => name));
  const members = new Map<string, Segment[]>();
  const others: Segment[] = [];
  for (const segment of segments) {
    const { memberOf } = segment;
    if (memberOf === null || !names.has(memberOf)) others.push(segment);
    else members.set(memberOf, [...(members.get(memberOf) ?? []), segment]);
  }
  const withItsOwn = (parent: Segment): Segment[] => [parent, ...(members.get(parent.name) ?? []).flatMap(withItsOwn)];
  return others.flatMap(withItsOwn);
}

function drawn(segments: readonly Segment[]): string {
  const notes = segments.map(noteOn);
  const head = ['NAME', 'KIND', 'DTYPE', 'SHAPE', 'SIZE', 'MODE', 'OWNER', 'PEERS', 'LOCK', 'AGE'];
  const rows = segments.map((segment) => [
    printable(segment.name),
    kindOf(segment),
    // Of a primitive they say nothing: it is an array of words.
    (segment.primitive === null ? segment.dtype : null) ?? none,
    shapeInWords(segment.primitive === null ? segment.shape : null),
    bytesInWords(segment.allocatedBytes),
    permissionsInWords(segment.permissions),
    ownerInWords(segment.uid),
    segment.lock === null ? none : segment.peers.length,
    stateInWords(segment.lock?.state ?? null),
    ageInWords(bornAt(segment)),
  ]);
  return notes.every((each) => each === '')
    ? table(head, rows)
    : table(
        [...head, 'NOTE'],
        rows.map((row, n) => [...row, notes[n] as string]),
      );
}

/** What is not as it should be. */
function noteOn({ leftover, problem }: Segment): string {
  return leftover ? 'leftover' : (problem?.code ?? '');
}

function summary(segments: readonly Segment[]): string {
  const bytes = segments.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0);
  return `${countInWords(segments.length, 'segment')}, ${bytesInWords(bytes)}; ${memoryInWords()}`;
}
