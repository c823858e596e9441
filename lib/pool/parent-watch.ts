import { binding } from '../binding';
import { failureError } from '../errors';
import { checkName, integerIn } from '../options';

/**
 * From now on this process ends as soon as the other end of the socket `fd` is closed: at once, even in the midst of a
 * loop, and without any handler. The store of this name goes first, with its members. The descriptor may be closed
 * afterwards. Errors: EBADF, ENOTSOCK, ERR_NDSHM_INVALID_NAME, ERR_NDSHM_OUT_OF_RANGE.
 */
export function endWithParent(fd: number, store: string): void {
  const failure = binding.endWithParent(integerIn(fd, 0, 2 ** 31 - 1, 'the descriptor'), checkName(store));
  if (failure !== undefined) throw failureError(failure, { directory: binding.layout.directory, name: null });
}
