// A worker of the cluster: tells which digit a posted image shows, by the weights that are being trained.
import cluster from 'node:cluster';
import { createServer } from 'node:http';
import * as ndshm from 'ndshm';
import { predict } from './predict.mjs';

const names = JSON.parse(process.argv[2]);
const row = cluster.worker.id - 1;
const board = ndshm.open(names.board, { mode: 'r+' });
let model = ndshm.open(names.model);
const replacements = ndshm.watch(names.model, { since: model });

const server = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => response.end(JSON.stringify(answer(Buffer.concat(chunks)))));
});
server.listen(0, '127.0.0.1');
process.once('disconnect', () => replacements.return());

noteOnBoard(1, model.shape[0]);
for await (const next of replacements) {
  model.close(); // no answer is under way: they do not await anything
  model = next;
  noteOnBoard(1, model.shape[0]);
  noteOnBoard(2, board.get(row, 2) + 1);
}
model.close();
board.close();

function answer(pixels) {
  const read = () => predict(model, pixels);
  const found = names.locked ? model.readSync(read) : read();
  noteOnBoard(0, board.get(row, 0) + 1);
  return found;
}

/** A write under the lock, which wakes the trainer if it waits for one. */
function noteOnBoard(column, value) {
  board.writeSync(() => board.set([row, column], value));
}
