import { types } from 'node:util';

/**
 * Why an object of no known kind cannot be cloned by its properties; undefined if it can. What the engine or the platform
 * made keeps its state elsewhere: structured clone refuses most of these, takes some for empty, and a few (Blob,
 * MessagePort) by a handle that no other process could follow.
 */
export function whyNotClonable(value: object): string | undefined {
  if (types.isModuleNamespaceObject(value)) return 'is a module';
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  if (tag === 'Object') return undefined;
  // A class of the user's may have a tag of its own. 'Intl.Collator' and its like are known by their first word.
  const isBuiltIn = (tag.split('.')[0] as string) in globalThis || /(Iterator|Generator|Arguments)$/.test(tag);
  return isBuiltIn ? `is ${/^[AEIOU]/.test(tag) ? 'an' : 'a'} ${tag}` : undefined;
}

/** Arguments objects are no lists, and look like plain objects. */
export const isPlain = (value: object): boolean =>
  Object.getPrototypeOf(value) === Object.prototype && !types.isArgumentsObject(value);
