import { exposureOfClass } from './exposure';
import type { Objects } from './objects';
import { builtinTypes, HostedPool, type HostedPoolOptions } from './types';

/** Gives a manager the types that every manager has. `modules`: those whose functions its pools may run. */
export function addBuiltins(objects: Objects, modules: readonly string[]): void {
  for (const [name, Class] of Object.entries(builtinTypes)) objects.register(name, Class);
  objects.add('pool', {
    exposure: exposureOfClass(HostedPool),
    make: ([options]) => new HostedPool(modules, options as HostedPoolOptions | undefined),
  });
}
