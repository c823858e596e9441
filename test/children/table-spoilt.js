// Makes a table, overwrites one of its words, uses it, as it has it open and opened anew, and ends it; for each of the
// words and values that it is told. Answers with what nobody may be told by a spoilt table. Argument: prefix of the names.
const { closeSync, existsSync, openSync, writeSync } = require('node:fs');
const ndshm = require('ndshm');

const acceptable = [
  'ERR_NDSHM_CONTROL_CORRUPT',
  'ERR_NDSHM_STALE_HANDLE',
  'ERR_NDSHM_OUT_OF_RANGE',
  'ERR_NDSHM_CLOSED',
  'ERR_NDSHM_MISMATCH',
  'ERR_NDSHM_FULL',
];

const headerBytes = 4096;

/** Everything that a table does; the codes of what fails. */
function useAll(table, handles) {
  const codes = [];
  const tried = (use) => {
    try {
      return use();
    } catch (error) {
      codes.push(error.code ?? error.stack);
      return undefined;
    }
  };
  tried(() => table.handles());
  for (const handle of handles) {
    tried(() => table.has(handle));
    tried(() => {
      const array = table.getArray(handle);
      if (array.get(0) !== 6) codes.push(`array ${handle} holds ${array.get(0)}`);
      array.close();
    });
  }
  const make = () => tried(() => table.createArray(4, 'int32', { init: (array) => array.fill(8) }));
  for (const made of [make(), make()]) {
    if (made === undefined) continue;
    tried(() => {
      const array = table.getArray(made);
      if (array.data.some((value) => value !== 8)) codes.push(`array ${made} holds ${array.data.join()}`);
      array.close();
    });
    tried(() => table.freeArray(made));
  }
  tried(() => table.freeArray(handles[0]));
  return codes;
}

function trial(name, place, at, value) {
  const table = ndshm.ArrayTable.open(name);
  const handles = [0, 1, 2, 3].map(() => table.createArray(1, 'int8', { init: (array) => array.fill(6) }));
  for (const handle of handles.splice(2, 2)) table.freeArray(handle); // the list of free rows has two
  const file = openSync(`/dev/shm/${place === 'words' ? name : `${name}.pages.0`}`, 'r+');
  const spoil = () => writeSync(file, Int32Array.of(value), 0, 4, headerBytes + 4 * at);
  spoil();
  const codes = useAll(table, handles);
  spoil();
  let again;
  try {
    again = ndshm.ArrayTable.open(name);
    codes.push(...useAll(again, handles));
  } catch (error) {
    codes.push(error.code ?? error.stack);
  }
  spoil();
  const wrong = codes.filter((code) => !acceptable.includes(code));
  for (const end of [() => again?.close(), () => table.unlink(), () => table.close()]) {
    try {
      end();
    } catch (error) {
      // Where it seemed to have ended, the name means another table by now.
      if (error.code !== 'ERR_NDSHM_STALE_HANDLE') wrong.push(`${end}: ${error.stack}`);
      ndshm.unlink(name);
    }
  }
  closeSync(file);
  if (existsSync(`/dev/shm/${name}`)) wrong.push('it has not ended');
  return wrong;
}

let trials = 0;
process.on('message', ({ place, at, values }) => {
  const wrong = values.flatMap((value) =>
    trial(`${process.argv[2]}-${trials++}`, place, at, value).map((code) => `${place}[${at}] = ${value}: ${code}`),
  );
  process.send([...new Set(wrong)]);
});
process.send('ready');
