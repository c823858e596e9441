export interface Chunk {
  /** Index of its first item. */
  readonly first: number;
  readonly size: number;
}

/**
 * Each guided chunk is this part of a process's share of what is left. A first chunk of the whole share would leave the
 * others waiting for it where its items take longest; of a quarter, three quarters can still go to whoever is free.
 */
const chunksPerShare = 4;
/** More are handed over in no less time for each. */
const largestGuided = 500;

/**
 * Consecutive chunks of `total` items, to be given to whichever process is free. 'auto' is guided self-scheduling
 * (Polychronopoulos and Kuck, 1987): large chunks first, for few of them to be passed on, and small ones at the end, for all
 * processes to finish at about the same time.
 *
 * Guided chunks are taken from as many parts of the items as there are processes, each time where most is left: what is
 * worked on at the same time lies apart. For items that are elements of one array side by side, processors would take each other's cache lines.
 */
export function* chunksOf(total: number, processes: number, chunkSize: 'auto' | number): Generator<Chunk> {
  if (chunkSize !== 'auto') {
    for (let first = 0; first < total; first += chunkSize) yield { first, size: Math.min(chunkSize, total - first) };
    return;
  }
  const parts = Array.from({ length: processes }, (_, part) => ({
    first: Math.floor((part * total) / processes),
    end: Math.floor(((part + 1) * total) / processes),
  }));
  for (let left = total; left > 0; ) {
    const part = parts.reduce((most, each) => (each.end - each.first > most.end - most.first ? each : most));
    const guided = Math.min(Math.ceil(left / (chunksPerShare * processes)), largestGuided);
    const size = Math.min(guided, part.end - part.first);
    yield { first: part.first, size };
    part.first += size;
    left -= size;
  }
}
