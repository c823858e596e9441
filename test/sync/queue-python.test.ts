import * as ndshm from 'ndshm';
import { PythonPeer } from '../helpers/python-peer';
import { describeWithMsgpack, pythonStore } from '../helpers/python-store';
import { freshName } from '../helpers/shm';

const program = `${pythonStore}
import queue_reader

def answer(name):
    return [repr(decode(item)) for item in queue_reader.items(name)]
`;

describeWithMsgpack('Python reads a queue by its format alone', () => {
  let python: PythonPeer;
  beforeAll(() => {
    python = new PythonPeer(program);
  });
  afterAll(() => python.close());

  test('all items that are inside, oldest first', async () => {
    const q = new ndshm.Queue(freshName(), { ephemeral: true });
    expect(await python.ask(q.name)).toEqual([]);
    q.putSync({ task: 'resize', size: [640, 480] });
    q.putSync(new Map([[2n ** 70n, 'ü']]));
    q.putSync([1.5, null, Float64Array.of(0.5, 2)]);
    expect(await python.ask(q.name)).toEqual([
      "{'task': 'resize', 'size': [640, 480]}",
      "[(1180591620717411303424, 'ü')]",
      '[1.5, None, array([0.5, 2. ])]',
    ]);
    q.getSync();
    expect(await python.ask(q.name)).toHaveLength(2);
    q.close();
  });

  test('wherever in the queue they lie', async () => {
    const q = new ndshm.Queue<string>(freshName(), { maxItems: 3, maxBytes: 101, ephemeral: true });
    const inside: string[] = [];
    for (let n = 0; n < 20; n++) {
      const item = `${n}`.padStart((7 * n) % 20, 'x');
      while (!q.tryPut(item)) {
        q.getSync();
        inside.shift();
      }
      inside.push(item);
      expect(await python.ask(q.name)).toEqual(inside.map((each) => `'${each}'`));
    }
    q.close();
  });
});
