import { binding, type Failure, type Segment } from '../binding';
import { type FailureSubject, failureError, hasErrno } from '../errors';
import { gc } from './directory';

/** A complete segment without a name, as `allocate` makes it. What crashes have left may be all that is in the way. */
export function newSegment(allocate: (segment: Segment) => Failure | undefined, subject: FailureSubject): Segment {
  const attempt = (): Segment | Failure => {
    const segment = new binding.Segment();
    return allocate(segment) ?? segment;
  };
  let made = attempt();
  if ('status' in made && hasErrno(made, 'ENOSPC') && gc().length > 0) made = attempt();
  if ('status' in made) throw failureError(made, subject);
  return made;
}
