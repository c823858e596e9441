// A clean exit closes what belongs to its peers, so that the last process out takes the name away. After any other
// death the next gc() does.

interface Closable {
  close(): void;
}

const open = new Set<WeakRef<Closable>>();
const forgetCollected = new FinalizationRegistry<WeakRef<Closable>>((reference) => open.delete(reference));
let watchingExit = false;

/** Closes it when this process or thread ends; returns how to say that this is not needed any more. */
export function closeAtExit(closable: Closable): () => void {
  if (!watchingExit) {
    watchingExit = true;
    process.once('exit', () => {
      for (const each of [...open].reverse()) each.deref()?.close(); // what was opened in another one closes before it
    });
  }
  const reference = new WeakRef(closable);
  open.add(reference);
  forgetCollected.register(closable, reference);
  return () => open.delete(reference);
}
