// npm run demo: handwritten digits in shared memory, classified by several processes at once. See README.md.
const { availableParallelism } = require('node:os');
const { parseArgs } = require('node:util');
const { default: colors } = require('ansis');
const ndshm = require('ndshm');
const { names, withArrays } = require('./arrays');
const { classify } = require('./classify');
const { withCrew } = require('./crew');
const { count } = require('./digits');
const { drawImages, imagesPerLine } = require('./drawing');
const { Interrupted, interruptionSignal } = require('./interruption');
const { memoryOf } = require('./memory');
const { mebibytes, memoryTable, sum } = require('./memory-table');
const { computeMeanImages, findPython } = require('./python');

const indent = '   ';
const leastAccuracy = 0.9;
const unanswered = 255;
const perLine = imagesPerLine((process.stdout.columns ?? 80) - indent.length);

const print = (text) => console.log(text.replace(/^(?=.)/gm, indent));
const number = (value) => value.toLocaleString('en');
const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

/** A heading, and the line of code that does what it says. */
function step(title, code) {
  console.log(`\n${colors.bold(title)}`);
  print(colors.cyan(code));
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      'held-out': { type: 'string', default: '1000' },
      processes: { type: 'string', default: String(Math.max(2, availableParallelism())) },
    },
  });
  return {
    heldOut: wholeNumber(values['held-out'], '--held-out', count / 2),
    processes: wholeNumber(values.processes, '--processes', 250),
  };
}

function wholeNumber(text, option, most) {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new RangeError(`Expected a whole number from 1 to ${most} for ${option} but received '${text}'`);
}

async function demo() {
  const signal = interruptionSignal();
  const { heldOut, processes } = readOptions();
  introduce(heldOut);
  await withArrays(heldOut, signal, async (arrays) => {
    const context = { ...arrays, heldOut, processes, signal };
    print(`/dev/shm/${names.digits}: ${mebibytes(arrays.digits.nbytes)} MiB, and a valid .npy file`);
    const shared = await classifyTogether(context);
    const copied = await measureCopies(context);
    compareMemory(context, shared, copied);
    showAnswers(context);
    await classifyByPool(context);
    await passReport(context);
    await showToPython(context);
  });
  console.log(`\n${colors.green('Done.')} All arrays are closed, and nothing of them is left in /dev/shm.`);
}

function introduce(heldOut) {
  console.log(`${number(count)} handwritten digits (MNIST) in one array that several processes share.`);
  console.log(`They read the last ${number(heldOut)} of them by looking for the most similar of the others.`);
  step(
    '1. Put the digits into shared memory, under a name',
    "ndshm.create(name, { shape: [10000, 784], dtype: 'float32', … })",
  );
}

async function classifyTogether(context) {
  const { processes, signal } = context;
  return withCrew(processes, signal, async (crew) => {
    const pids = [process.pid, ...crew.workers.map(({ pid }) => pid)];
    await crew.askAll({ task: 'processorTime' });
    const started = pids.map(memoryOf);

    step(
      `2. Fork ${processes} workers, which open it by that name`,
      "ndshm.open(name)   // read-only; predictions: { mode: 'r+' }",
    );
    await crew.askAll({ task: 'open', names });
    const memory = pids.map(memoryOf);
    print(`parent: process ${pids[0]}, workers: processes ${pids.slice(1).join(', ')}`);

    step('3. Classify, and write the answers into another shared array', 'predictions.data[n] = labels.data[nearest]');
    const alone = await classifyByCrew(context, crew, 1);
    const together = await classifyByCrew(context, crew, processes);
    if (!alone.answers.equals(together.answers)) throw new Error('One process and several answered differently');
    print(`1 process takes ${(alone.ms / together.ms).toFixed(2)} times as long as ${inWords(processes)}`);
    return { pids, started, memory };
  });
}

const inWords = (processes) => (processes === 1 ? '1 process' : `${processes} processes`);

async function classifyByCrew({ predictions, digits, heldOut }, crew, processes) {
  predictions.fill(unanswered);
  const request = { task: 'classify', firstHeldOut: digits.shape[0] - heldOut };
  const workers = crew.workers.slice(0, processes);
  const processorTime = async () => sum(await crew.askAll({ task: 'processorTime' }));
  const processorBefore = await processorTime();
  const title = `${indent}classifying, ${inWords(processes)}`;
  const onProgress = ndshm.progressBar(title, { stream: process.stdout });
  const before = performance.now();
  try {
    onProgress({ done: 0, total: heldOut });
    await crew.share(heldOut, request, { workers, onProgress: (done) => onProgress({ done, total: heldOut }) });
  } finally {
    onProgress.stop();
  }
  const ms = performance.now() - before;
  // Where several take no less time than one, this tells a processor that was busy with others from a slow program.
  const processorMs = (await processorTime()) - processorBefore;
  print(`${inWords(processes)}: ${seconds(ms)} (processor time: ${seconds(processorMs)})`);
  return { ms, answers: Buffer.from(predictions.data) };
}

/** What the same workers take without sharing: each has the digits in memory of its own. */
async function measureCopies({ processes, signal }) {
  return withCrew(processes, signal, async (crew) => {
    await crew.askAll({ task: 'copy', names });
    return [process.pid, ...crew.workers.map(({ pid }) => pid)].map(memoryOf);
  });
}

function compareMemory({ digits }, { pids, started, memory }, copied) {
  step(
    `4. The memory: ${mebibytes(digits.nbytes)} MiB of digits are there once`,
    '/proc/PID/smaps_rollup   # Pss: a page that n processes hold counts 1/n',
  );
  const titles = pids.map((pid, n) => `${n === 0 ? 'parent' : 'worker'} ${pid}`);
  print(memoryTable(titles.map((title, n) => ({ title, started: started[n], shared: memory[n], copied: copied[n] }))));
  const [before, shared, separate] = [started, memory, copied].map((each) => sum(each.map(({ pss }) => pss)));
  print(
    `Sharing the digits costs ${mebibytes(shared - before)} MiB in all, copying them ${mebibytes(separate - before)} MiB.`,
  );
}

function showAnswers({ digits, labels, predictions, heldOut }) {
  const held = digits.slice(`-${heldOut}:`);
  const truth = labels.slice(`-${heldOut}:`).data;
  const isRight = (n) => predictions.data[n] === truth[n];
  const all = [...truth.keys()];
  const wrong = all.filter((n) => !isRight(n));
  const accuracy = 1 - wrong.length / heldOut;

  step('5. The answers', `digits.slice('-${heldOut}:')   // a view, as in numpy`);
  print(
    `accuracy: ${(accuracy * 100).toFixed(1)} % (${number(heldOut - wrong.length)} of ${number(heldOut)} are right)\n`,
  );
  const shown = [...wrong.slice(0, 1), ...all.filter(isRight)].slice(0, perLine);
  const captions = shown.map((n) => (isRight(n) ? `read as ${truth[n]}` : `${predictions.data[n]}? it is ${truth[n]}`));
  print(
    drawImages(
      shown.map((n) => held.row(n).data),
      captions,
    ),
  );
  if (accuracy < leastAccuracy) throw new Error(`Expected an accuracy of at least ${leastAccuracy * 100} %`);
}

/** Step 3 once more, without a program for the workers, messages to them, or names. */
async function classifyByPool({ digits, labels, predictions, heldOut, processes, signal }) {
  step(
    '6. The same by a process pool, which hands the arrays to a plain function',
    'await pool.starmap(classify, rows.map((digit) => [digit, training, labels]))',
  );
  const training = digits.slice(`:-${heldOut}`);
  const tasks = Array.from(digits.slice(`-${heldOut}:`), (digit) => [digit, training, labels]);
  const onProgress = ndshm.progressBar(`${indent}classifying, a pool of ${inWords(processes)}`, {
    stream: process.stdout,
  });
  const pool = new ndshm.Pool({ processes });
  try {
    const before = performance.now();
    const answers = await pool.starmap(classify, tasks, { signal, onProgress });
    const ms = performance.now() - before;
    if (answers.some((answer, n) => answer !== predictions.data[n])) throw new Error('The pool answered differently');
    print(`a pool of ${inWords(processes)}: ${seconds(ms)}, its start included; the same answers`);
  } finally {
    await pool.close();
  }
}

/** Images, table and map in one value, for a process that knows nothing but a line of JSON. */
async function passReport({ digits, labels, predictions, heldOut, signal }) {
  step(
    '7. Pass a report to another process, as one object',
    'const ref = await store.put(report)   // there: store.get(ref)',
  );
  const truth = labels.slice(`-${heldOut}:`).data;
  const confusion = new Uint32Array(100);
  const mistakes = new Map();
  truth.forEach((label, n) => {
    confusion[10 * label + predictions.data[n]]++;
    if (predictions.data[n] !== label) mistakes.set(n, predictions.data[n]);
  });
  const store = ndshm.Store.open(names.store, { capacity: '256MiB' });
  try {
    const images = digits.slice(`-${heldOut}:`);
    const ref = await store.put({ images, confusion, mistakes });
    const [read] = await withCrew(1, signal, (crew) => crew.askAll({ task: 'readReport', names, ref }));
    if (read.right !== heldOut - mistakes.size || read.mistakes !== mistakes.size) {
      throw new Error(`The other process reads ${read.right} right answers and ${read.mistakes} mistakes`);
    }
    print(
      `${JSON.stringify(ref).length} bytes of JSON led it to ${mebibytes(images.nbytes)} MiB of images (${read.shape.join(' × ')}), without a copy;`,
    );
    print(
      `its get() took ${read.ms.toFixed(1)} ms. It counts ${number(read.right)} right answers and ${read.mistakes} mistakes as well.`,
    );
  } finally {
    store.close();
  }
}

async function showToPython({ means, predictions, labels, heldOut, signal }) {
  step(
    '8. Python reads the same arrays, and writes into one',
    "np.load('/dev/shm/' + name, mmap_mode='r')   # means: 'r+'; no code of ndshm",
  );
  const python = await findPython(signal);
  if (python === undefined) {
    print('left out: no Python with numpy found (NDSHM_PYTHON, .venv/bin/python, python3)');
    return;
  }
  const found = await computeMeanImages(python, names, signal);
  const truth = labels.slice(`-${heldOut}:`).data;
  const correct = truth.filter((label, n) => predictions.data[n] === label).length;
  if (found.correct !== correct) throw new Error(`Python counts ${found.correct} right answers, Node ${correct}`);
  print(`numpy ${found.numpy} finds the shape ${found.digits} and ${number(correct)} right answers as well.`);
  print('It has written the mean image of each digit into an array that Node shows now:\n');
  const shown = Array.from({ length: 10 }, (_, label) => label).slice(-perLine);
  print(
    drawImages(
      shown.map((label) => means.row(label).data),
      shown.map((label) => `mean of all ${label}s`),
    ),
  );
}

demo().catch((error) => {
  const interrupted = error instanceof Interrupted;
  console.error(
    `\n${colors.red(interrupted ? `${error.message}: all is closed and removed.` : `The demo failed: ${error.stack}`)}`,
  );
  process.exitCode = interrupted ? error.exitCode : 1;
});
