import { statSync } from 'node:fs';
import * as ndshm from 'ndshm';
import { Reservoir } from '../../dist/array/reservoir';
import type { Peer } from './child';
import { freshName, shmPath } from './shm';

export const pageBytes = 4096;
export const label = 'pages.0';
export const readOnly = { shared: false, leased: false };
export const leased = { shared: false, leased: true };

/** A parent with a reservoir, both gone when it is closed. */
export class Pages {
  readonly parent: ndshm.SharedArray;
  readonly reservoir: Reservoir;

  constructor(
    byteLength = 2 ** 33,
    readonly parentName = freshName(),
  ) {
    this.parent = ndshm.create(parentName, { shape: 4, ephemeral: true });
    this.reservoir = Reservoir.openOrCreate(this.parent, label, byteLength);
  }

  /** Another hold on the same pages: to the kernel, as good as another process. */
  reopen(): Reservoir {
    return Reservoir.openOrCreate(this.parent, label, pageBytes);
  }

  /** What the pages take of memory, without header and control block. */
  get existingBytes(): number {
    return statSync(shmPath(this.reservoir.name)).blocks * 512 - 6 * pageBytes;
  }

  read(offset: number, byteLength: number, from = this.reservoir): Buffer {
    const first = Math.floor(offset / pageBytes) * pageBytes;
    const end = Math.ceil((offset + byteLength) / pageBytes) * pageBytes;
    const buffer = from.map(first, end - first, readOnly);
    const copy = Buffer.from(Buffer.from(buffer, offset - first, byteLength));
    from.unmap(buffer);
    return copy;
  }

  close(): void {
    this.reservoir.close();
    this.parent.close();
    ndshm.gc();
  }
}

/** Opens a reservoir in a peer, kept there as 'reservoir', its parent as 'parent'. */
export const openIn = (peer: Peer, { parentName }: Pages): Promise<void> =>
  peer.run(
    ({ ndshm, kept, part }, name, memberLabel) => {
      const parent = ndshm.open(name, { mode: 'r+' });
      const { Reservoir } = part('array/reservoir') as typeof import('../../dist/array/reservoir');
      kept.set('parent', parent);
      kept.set('reservoir', Reservoir.openOrCreate(parent, memberLabel, 4096));
    },
    parentName,
    label,
  );
