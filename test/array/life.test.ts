import * as ndshm from 'ndshm';
import { exists, freshName, thrownBy } from '../helpers/shm';

describe('an array’s life', () => {
  test('create makes zeros that open sees, and writes are seen at once', () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: [3, 4] });
    const b = ndshm.open(name);
    expect([a.dtype, a.mode, b.mode, a.name]).toEqual(['float64', 'r+', 'r', name]);
    expect(a.toNested()).toEqual([
      [0, 0, 0, 0],
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ]);
    a.set([1, 2], 5.5);
    expect(b.get(1, 2)).toBe(5.5);
    a.close();
    expect(b.get(1, 2)).toBe(5.5);
    b.close();
    ndshm.unlink(name);
    expect(exists(name)).toBe(false);
  });

  test('close detaches every typed array over the memory, and may be repeated', () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: 10 });
    const { data } = a;
    const part = a.slice('2:5').data;
    expect([data.length, part.length]).toEqual([10, 3]);
    a.close();
    a.close();
    expect([data.length, part.length, data[0]]).toEqual([0, 0, undefined]);
    expect(thrownBy(() => a.get(0)).code).toBe('ERR_NDSHM_CLOSED');
    ndshm.unlink(name);
  });

  test('unlink takes the name away if it still means this array, and leaves a successor alone', () => {
    const name = freshName();
    const a = ndshm.create(name, { shape: 1 });
    const b = ndshm.create(name, { shape: 2, ifExists: 'replace' });
    expect(thrownBy(() => a.unlink()).code).toBe('ERR_NDSHM_STALE_HANDLE');
    expect(ndshm.stat(name).shape).toEqual([2]);
    b.close();
    b.unlink();
    expect(exists(name)).toBe(false);
    expect(thrownBy(() => b.unlink()).code).toBe('ENOENT');
    const scratch = ndshm.anonymous({ shape: 1 });
    expect(thrownBy(() => scratch.unlink()).code).toBe('ERR_NDSHM_ANONYMOUS');
    a.close();
    scratch.close();
  });
});
