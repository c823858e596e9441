import { Exclusive } from './exclusive';
import { HostedLock } from './lock';

/** A lock that its holder can take again, and releases as often: multiprocessing.RLock of Python. * @example
 * const manager = await ndshm.Manager.start();
 * const lock = await manager.rlock();
 * await lock.run(() => lock.run(() => console.log('inside'))); // inside
 * await manager.close();
 */
export class HostedRLock extends HostedLock {
  protected override readonly exclusive = new Exclusive('reentrant');
}
