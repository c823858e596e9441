import { readFileSync } from 'node:fs';

let names: ReadonlyMap<number, string> | undefined;

/** The name of a user; the number where this machine (or container) knows none. */
export function ownerInWords(uid: number): string {
  names ??= readNames();
  return names.get(uid) ?? String(uid);
}

function readNames(): Map<number, string> {
  let lines: string[] = [];
  try {
    lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  } catch {
    // Images without anything but the program have no such file.
  }
  // passwd(5): name:password:uid:…
  const users = lines.map((line) => line.split(':')).filter((fields) => fields.length >= 3);
  return new Map(users.map(([name, , uid]) => [Number(uid), name as string]));
}
