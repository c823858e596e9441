import { binding } from '../binding';
import { failureError } from '../errors';
import { checkName, integerIn } from '../options';

/** Where a process that ends with its parent finds the socket whose other end its parent has. */
export const parentSocket = 4;

/**
 * From now on this process ends when the other end of the socket `fd` is closed: even in the midst of a loop, and
 * without any handler. The store of this name goes first, with its members. The process has `graceMs` to end by itself.
 * The descriptor may be closed afterwards. Errors: EBADF, ENOTSOCK, ERR_NDSHM_INVALID_NAME, ERR_NDSHM_OUT_OF_RANGE.
 */
export function endWithParent(fd: number, store: string | null, graceMs = 0): void {
  const socket = integerIn(fd, 0, 2 ** 31 - 1, 'the descriptor');
  const failure = binding.endWithParent(socket, store === null ? null : checkName(store), graceMs);
  if (failure !== undefined) throw failureError(failure, { directory: binding.layout.directory, name: null });
}
