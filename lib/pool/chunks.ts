/**
 * Each chunk is this part of a process's share of what is left. A first chunk of the whole share would leave the others
 * waiting for it where its items take longest; of a quarter, three quarters can still go to whoever is free.
 */
const chunksPerShare = 4;

/**
 * The sizes of consecutive chunks of `total` items, to be given to whichever process is free. 'auto' is guided
 * self-scheduling (Polychronopoulos and Kuck, 1987): large chunks first, for few of them to be passed on, and small ones at
 * the end, for all processes to finish at about the same time.
 */
export function* chunkSizes(total: number, processes: number, chunkSize: 'auto' | number): Generator<number> {
  for (let left = total; left > 0; ) {
    const size = chunkSize === 'auto' ? Math.ceil(left / (chunksPerShare * processes)) : Math.min(chunkSize, left);
    yield size;
    left -= size;
  }
}
