import type { Command } from 'commander';
import type { SliceItem } from '../index';
import { printable } from './words';

/**
 * The argument that names a part of an array. Several words are one slice, as when a shell has split '2:5, 0'; and what
 * begins with a minus sign is one too: commander would take '-3:' for an option.
 */
export function addSlice(command: Command): Command {
  return command
    .argument('[slice...]', "a part of the array, as in numpy: '2:5, ::2, -1'; '...' and None too")
    .allowUnknownOption()
    .hook('preAction', (_, { args }) => {
      const stray = args.find((arg) => /^--?[a-z]/i.test(arg));
      if (stray !== undefined) command.error(`error: unknown option '${stray}'`, { code: 'commander.unknownOption' });
    });
}

/** What numpy has between the brackets, which may be there too. */
const inside = (text: string): string => (/^\s*\[(.*)\]\s*$/.exec(text)?.[1] ?? text).trim();

/** What the items mean is for SharedArray.slice() to say. */
export function parseSlice(text: string): SliceItem[] {
  const items = inside(text).replace(/,$/, '');
  return items === '' ? [] : items.split(',').map(itemOf);
}

function itemOf(text: string): SliceItem {
  const item = text.trim();
  if (/^[+-]?\d+$/.test(item)) return Number(item);
  return item === 'None' || item === 'newaxis' ? null : item;
}

/** How people refer to it: 'prices[2:5]', 'model: layer.0[2:5]'. */
export function labelOf(name: string, slice: string, tensor?: string): string {
  const whole = tensor === undefined ? name : `${name}: ${tensor}`;
  return printable(inside(slice) === '' ? whole : `${whole}[${inside(slice)}]`);
}
