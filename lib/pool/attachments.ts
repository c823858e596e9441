import { type ArrayHandle, attachWhole, checkHandle, viewOf } from '../array/handle';
import { identityOf, isOpened, openFile } from '../array/segment-file';
import { SharedArray } from '../array/shared-array';
import type { Mode } from '../options';

// To attach an array takes as long as a small task does. To keep it attached keeps its memory, which its owner may want to
// be rid of. So what was attached is found again as long as anything refers to it, and the last few are referred to here.
const keptArrays = 4;

/** The arrays that payloads have named in this process: each segment is attached once in each mode. */
export class Attachments {
  readonly #known = new Map<string, WeakRef<SharedArray>>();
  readonly #collected = new FinalizationRegistry<string>((key) => {
    if (this.#known.get(key)?.deref() === undefined) this.#known.delete(key);
  });
  /** In the order of their last use. Never closed before close(): a task may still use what is let go of. */
  readonly #kept = new Set<SharedArray>();

  /**
   * The array that a handle describes, or a view of it: whole arrays are the same object each time, until somebody closes
   * it; views over it are new ones, and to close them ends them alone. In mode 'c', what a task wrote stays for the tasks
   * after it in this process. Errors: those of attach().
   */
  attach(handle: ArrayHandle, mode: Mode): SharedArray {
    const checked = checkHandle(handle);
    const array = this.#whole(checked, mode);
    this.#kept.delete(array);
    this.#kept.add(array);
    if (this.#kept.size > keptArrays) this.#kept.delete(this.#kept.values().next().value as SharedArray);
    return checked.view === undefined ? array : viewOf(array, checked.view, false);
  }

  #whole(handle: ArrayHandle, mode: Mode): SharedArray {
    const { name, id, dtype, shape, order, rawByteOffset } = handle;
    const key = [mode, name, id, dtype, shape.join(), order, rawByteOffset].join('/');
    const known = this.#known.get(key)?.deref();
    if (known !== undefined && !known.closed && (id !== null || isStill(name, known))) return known;
    // Whoever sent the handle has it open, and so has decided to trust its owner.
    const array = attachWhole(handle, { mode, allowForeignOwner: true });
    this.#known.set(key, new WeakRef(array));
    this.#collected.register(array, key);
    return array;
  }

  /** Closes all of them, wherever they are still used. */
  close(): void {
    for (const known of this.#known.values()) known.deref()?.close();
    this.#known.clear();
    this.#kept.clear();
  }
}

/** Whether the name means the file of the array, which has no id to tell. */
function isStill(name: string, array: SharedArray): boolean {
  const file = openFile(name, false);
  if (!isOpened(file)) return false;
  file.segment.close(null);
  return identityOf(null, file.facts) === SharedArray.attachmentOf(array).identity;
}
