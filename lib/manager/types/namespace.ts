import { wrongKind } from '../../errors';
import { Keyed } from './keyed';

function checkName(name: unknown): string {
  if (typeof name === 'string') return name;
  throw wrongKind('a string', 'the name', name);
}

/** Values by names: multiprocessing.managers.Namespace of Python. Other keys: ERR_NDSHM_INVALID_ARGUMENT. * @example
 * const manager = await ndshm.Manager.start();
 * const settings = await manager.namespace({ rate: 0.1 });
 * await settings.set('epochs', 5);
 * console.log(await settings.toObject()); // { rate: 0.1, epochs: 5 }
 * await manager.close();
 */
export class Namespace extends Keyed<string, unknown> {
  /** With the properties of a plain object. */
  constructor(properties?: Readonly<Record<string, unknown>>) {
    super(checkName, properties);
  }

  /** All of it, as a copy. */
  toObject(): Record<string, unknown> {
    return Object.fromEntries(this.map);
  }
}
