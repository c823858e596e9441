import type { Command } from 'commander';
import type { Check } from '../doctor/check';
import { checkLimits } from '../doctor/limits';
import { thisMachine } from '../doctor/machine';
import { checkSharedMemory } from '../doctor/shared-memory';
import { checkSystem } from '../doctor/system';
import { checkByTrying } from '../doctor/trial';
import { type OutputOptions, print } from '../output';
import { style } from '../style';
import { printable } from '../words';

// Must not load the addon before it is known that there is one.

export function define(command: Command): void {
  command.action(async (options: OutputOptions) => {
    const checks = [
      ...checkSystem(thisMachine),
      ...checkSharedMemory(thisMachine),
      ...checkLimits(thisMachine),
      ...(await checkByTrying()),
    ];
    print(options, checks, () => [...checks.map(inWords), summary(checks)].join('\n'));
    if (checks.some(({ status }) => status === 'fail')) process.exitCode = 1;
  });
}

const colours = { ok: style.green, warn: style.yellow, fail: style.red };
const nameWidth = 16;
const indent = ' '.repeat('warn  '.length + nameWidth);

function inWords({ name, status, found, advice }: Check): string {
  const lines = [...found.split('\n'), ...(advice === null ? [] : [`→ ${advice}`])];
  return `${colours[status](status)}${' '.repeat(6 - status.length)}${name.padEnd(nameWidth)}${lines.map(printable).join(`\n${indent}`)}`;
}

function summary(checks: readonly Check[]): string {
  const count = (wanted: Check['status']) => checks.filter(({ status }) => status === wanted).length;
  const warnings = count('warn');
  return `\n${checks.length} checks: ${count('fail')} failed, ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}`;
}
