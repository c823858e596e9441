// Asked by its parent: 'getAll' gets the objects of the refs that come with it, and tells the milliseconds.
import { Store } from 'ndshm';
import { answer } from '../support/members.mjs';

const { name } = JSON.parse(process.argv[2]);
const store = Store.open(name);

function getAll(refs) {
  const start = performance.now();
  for (const ref of refs) store.get(ref);
  return performance.now() - start;
}

answer({ getAll });
