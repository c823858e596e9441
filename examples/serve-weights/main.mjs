// node examples/serve-weights/main.mjs [--workers 2] [--connections 10] [--steps 1000] [--held-out 1000] [--unlocked]
// Python trains a model while a cluster of Node servers answers from it: the weights are in memory that they share.
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import * as ndshm from 'ndshm';
import digits from '../../demo/digits.js';
import { wholeNumber } from '../support/options.mjs';
import { findPython, startPython } from '../support/python.mjs';
import { startLoad } from './load.mjs';
import { progressOfModels, report } from './report.mjs';
import { startServers } from './servers.mjs';
import { Tally } from './tally.mjs';

const { values: options } = parseArgs({
  options: {
    workers: { type: 'string', default: '2' },
    connections: { type: 'string', default: '10' },
    steps: { type: 'string', default: '1000' },
    'held-out': { type: 'string', default: '1000' },
    unlocked: { type: 'boolean', default: false },
  },
});
const workers = wholeNumber(options, 'workers', 100);
const connections = wholeNumber(options, 'connections', 1000);
const stepsOfModel = wholeNumber(options, 'steps', 100_000);
const heldOut = wholeNumber(options, 'held-out', digits.count / 2);
const locked = !options.unlocked;
// A model sees an image as so many parts in each direction.
const models = [1, 2, 4, 7, 14, 28];
const lastStep = models.length * stepsOfModel;
const training = digits.count - heldOut;

const python = findPython(['numpy', 'ndshm']);
const names = Object.fromEntries(
  ['images', 'labels', 'board', 'model'].map((key) => [key, `serve-weights-${process.pid}-${key}`]),
);
const images = ndshm.create(names.images, { shape: [digits.count, digits.pixels], dtype: 'float32', ephemeral: true });
const labels = ndshm.create(names.labels, { shape: digits.count, dtype: 'uint8', ephemeral: true });
// Where each server tells how many answers it gave, how many rows its model has, and how often it was replaced.
const board = ndshm.create(names.board, { shape: [workers, 3], dtype: 'float64', ephemeral: true });
const tally = new Tally(lastStep);
const end = new AbortController();
try {
  digits.loadDigits(images.data, labels.data);
  const result = await trainAndServe();
  const replacements = Array.from({ length: workers }, (_, n) => board.get(n, 2));
  report({ ...result, tally, models, stepsOfModel, replacements, locked });
  const noneFailed = Object.values(result.failed).every((count) => count === 0);
  if (!noneFailed || locked !== (tally.torn === 0)) {
    throw new Error(`Expected no failed request, and ${locked ? 'no' : 'some'} torn reads`);
  }
} finally {
  end.abort();
  for (const array of [images, labels, board]) array.close();
}

async function trainAndServe() {
  const { signal } = end;
  const given = { ...names, models, steps: stepsOfModel, training, untrainedAnswers: heldOut, locked };
  const trainer = startPython(python, new URL('train.py', import.meta.url), given, { signal });
  await Promise.race([once(trainer.lines, 'line'), trainer.ended]); // there is a model
  const servers = await startServers(workers, { ...names, locked }, { signal });
  const showProgress = progressOfModels(models, stepsOfModel);
  const load = startLoad({
    port: servers.port,
    connections,
    images: Array.from({ length: heldOut }, (_, n) => bytesOf(images.row(training + n).data)),
    onAnswer(answer, n) {
      tally.add(answer, answer.digit === labels.get(training + n));
      showProgress(answer.step);
    },
    signal,
  });
  await Promise.race([trainer.ended, servers.broken]);
  await Promise.race([tally.reached(lastStep, heldOut, 30_000), servers.broken]);
  const result = await load.stop();
  await servers.stop();
  return result;
}

function bytesOf(image) {
  return Buffer.from(image.map((light) => Math.round(light * 255)));
}
