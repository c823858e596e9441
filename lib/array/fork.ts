import { type ChildProcess, fork as forkProcess, type ForkOptions as NodeForkOptions } from 'node:child_process';
import { binding } from '../binding';
import { stateError, typeError, wrongKind } from '../errors';
import { type Mode, modes } from '../options';
import { type ArrayHandle, attach } from './handle';
import { openDescriptor } from './open';
import { SharedArray } from './shared-array';

export interface ForkOptions extends NodeForkOptions {
  /** The arrays that inherited() gives in the child, under these keys and in the modes that they have here. */
  readonly share?: Readonly<Record<string, SharedArray>>;
}

const variable = 'NDSHM_INHERIT';

type Inheritance = Record<string, { mode: Mode; handle: ArrayHandle } | { mode: Mode; fd: number; id: string }>;

/**
 * child_process.fork, plus arrays: named ones go by handle, anonymous ones by descriptor. The child calls
 * inherited(). Everything else is Node's own fork. Errors: ERR_NDSHM_INVALID_ARGUMENT, ERR_NDSHM_CLOSED.
 * @example
 * const prices = ndshm.create('prices', { shape: 1000, ephemeral: true });
 * const child = ndshm.fork('./worker.js', [], { share: { prices } });
 * child.on('exit', () => prices.close());
 */
export function fork(modulePath: string | URL, args: readonly string[] = [], options: ForkOptions = {}): ChildProcess {
  // Node takes options in this place too, which would lose `share` in silence.
  if (!Array.isArray(args)) throw wrongKind('an array of strings', 'args', args);
  const { share = {}, ...forkOptions } = options;
  const stdio = stdioOf(forkOptions);
  const descriptors: number[] = [];
  const inheritance: Inheritance = {};
  try {
    for (const [key, array] of Object.entries(share)) {
      if (!(array instanceof SharedArray)) throw wrongKind('a SharedArray', `share.${key}`, array);
      const { mode } = array;
      if (array.name !== null) {
        inheritance[key] = { mode, handle: array.handle };
        continue;
      }
      if (array.base !== null) {
        throw typeError(
          'ERR_NDSHM_INVALID_ARGUMENT',
          `share.${key} is a view of an anonymous array; share the whole array`,
        );
      }
      const attachment = SharedArray.attachmentOf(array);
      attachment.check();
      const fd = attachment.shareDescriptor();
      descriptors.push(fd);
      inheritance[key] = { mode, fd: stdio.push(fd) - 1, id: attachment.id as string };
    }
    const env = { ...(forkOptions.env ?? process.env), [variable]: JSON.stringify(inheritance) };
    return forkProcess(modulePath, args, { ...forkOptions, stdio, env });
  } finally {
    // The child has its own copies by now; ours would keep the memory alive.
    for (const fd of descriptors) binding.closeDescriptor(fd);
  }
}

/** The stdio that Node's fork would use, as a list to which descriptors can be added. */
function stdioOf({ stdio, silent }: NodeForkOptions): (number | 'pipe' | 'ipc' | 'ignore' | 'inherit')[] {
  if (Array.isArray(stdio)) return [...stdio] as 'pipe'[];
  const each = typeof stdio === 'string' ? (stdio as 'pipe') : silent === true ? 'pipe' : 'inherit';
  return [each, each, each, 'ipc'];
}

let arrays: Record<string, SharedArray> | undefined;

/**
 * In a process started by fork({ share }): the arrays, attached, by their keys. The same object at every call. Errors: ERR_NDSHM_INHERIT if this process was not started so, and those of attach().
 */
export function inherited(): Record<string, SharedArray> {
  if (arrays !== undefined) return arrays;
  const text = process.env[variable];
  if (text === undefined) {
    throw stateError('ERR_NDSHM_INHERIT', 'This process was not started by ndshm.fork() with { share }');
  }
  const found: Record<string, SharedArray> = {};
  try {
    for (const [key, item] of Object.entries(JSON.parse(text) as Inheritance)) {
      const mode = modes.find((each) => each === item.mode) ?? 'r';
      found[key] =
        'handle' in item ? attach(item.handle, { mode, allowForeignOwner: true }) : adopt(key, item.fd, item.id, mode);
    }
  } catch (error) {
    for (const array of Object.values(found)) array.close();
    throw error;
  }
  arrays = found;
  return found;
}

function adopt(key: string, fd: number, id: string, mode: Mode): SharedArray {
  let array: SharedArray | undefined;
  try {
    array = openDescriptor(fd, mode);
    if (SharedArray.attachmentOf(array).id === id) return array;
  } catch (cause) {
    throw Object.assign(notOurs(key), { cause });
  }
  array.close();
  throw notOurs(key);
}

// The environment passes on to grandchildren, where the descriptor is closed or something else.
const notOurs = (key: string): Error =>
  stateError(
    'ERR_NDSHM_INHERIT',
    `'${key}' is an anonymous array that was passed to another process; call inherited() in the forked process itself`,
  );
