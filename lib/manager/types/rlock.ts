import { Exclusive } from './exclusive';
import { HostedLock } from './lock';

/** A lock that its holder can take again, and releases as often: multiprocessing.RLock of Python. */
export class HostedRLock extends HostedLock {
  protected override readonly exclusive = new Exclusive('reentrant');
}
