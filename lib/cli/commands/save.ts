import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { anonymous, type OnProgress, type SharedArray, save } from '../../index';
import { checkTable, csvOf } from '../csv-text';
import { addFormatOptions, type Format, type FormatOptions, formatOf } from '../formats';
import { nameOf } from '../names';
import { replaceablePath, replaceFile, stream } from '../new-file';
import { note, type OutputOptions, print } from '../output';
import { withProgress } from '../progress';
import { addReadOptions, type ReadOptions, readArray } from '../read-array';
import { shapeInWords } from '../segments';
import { addSlice, labelOf, parseSlice } from '../slices';

interface SaveOptions extends OutputOptions, ReadOptions, FormatOptions {}

export function define(command: Command): void {
  addReadOptions(
    addFormatOptions(addSlice(command.argument('<name>').argument('<file>', "'-': standard output")), "','"),
  )
    .addHelpText(
      'after',
      `
npy is numpy's own format, raw the elements one after the other in C order, csv their text: a column, or rows. A file that
exists is replaced, as a whole: nobody sees half of it.`,
    )
    .action(saveArray);
}

async function saveArray(name: string, file: string, words: readonly string[], options: SaveOptions): Promise<void> {
  const slice = words.join(' ');
  const label = labelOf(nameOf(name), slice, options.tensor);
  const format = formatOf(file, options);
  const delimiter = options.delimiter ?? (file.endsWith('.tsv') ? '\t' : ',');
  const target = replaceablePath(file);
  const write = (array: SharedArray) => writeFile(array, target as string, format, delimiter, label);

  let copy: SharedArray | undefined;
  const { value, consistent, warning } = await readArray(name, parseSlice(slice), options, (part) => {
    if (format === 'csv') checkTable(part);
    // A copy takes the shortest time, in which the fewest writers come. What is too large for one is written at once.
    if (target !== undefined && part.nbytes > freemem() / 2) write(part);
    else copy = copied(part, copy);
    return { dtype: part.dtype, shape: part.shape, bytes: part.nbytes };
  });
  if (warning !== null) note(`${label}: ${warning}`);
  if (copy !== undefined) {
    if (target === undefined) await streamFile(copy, file, format, delimiter);
    else write(copy);
    copy.close();
  }
  if (file === '-') return;
  const { dtype, shape } = value;
  print(options, { name: nameOf(name), file, format, ...value, consistent }, () => {
    return `Saved ${label}, ${dtype} ${shapeInWords(shape)}, to ${file}`;
  });
}

/** In memory without a name; in C order unless the elements lie in Fortran order. */
function copied(part: SharedArray, earlier: SharedArray | undefined): SharedArray {
  const { dtype, shape } = part;
  const lies = part.isCContiguous || part.isFContiguous;
  const copy = earlier ?? anonymous({ dtype, shape, order: lies && !part.isCContiguous ? 'F' : 'C' });
  (copy.data as Float64Array).set((lies ? part.data : part.toTypedArray()) as Float64Array);
  return copy;
}

function writeFile(array: SharedArray, path: string, format: Format, delimiter: string, label: string): void {
  if (format === 'csv') {
    withProgress(`Saving ${label} (Mi elements)`, array.size, (onProgress) => {
      replaceFile(path, csvOf(array, delimiter, onProgress));
    });
  } else {
    withProgress(`Saving ${label} (MiB)`, array.nbytes, (onProgress) => {
      if (format === 'raw') replaceFile(path, rawOf(array, onProgress));
      else save(array, path, onProgress === undefined ? {} : { onProgress });
    });
  }
}

async function streamFile(array: SharedArray, file: string, format: Format, delimiter: string): Promise<void> {
  if (format === 'csv') await stream(file, csvOf(array, delimiter));
  else if (format === 'raw') await stream(file, rawOf(array));
  else {
    // Only to a file can ndshm write this format.
    const folder = mkdtempSync(join(tmpdir(), 'ndshm-save-'));
    try {
      save(array, join(folder, 'array.npy'));
      await stream(file, createReadStream(join(folder, 'array.npy')));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}

const blockBytes = 16 * 2 ** 20;

function* rawOf(array: SharedArray, onProgress?: OnProgress): Generator<Uint8Array> {
  const data = array.isCContiguous ? array.data : array.toTypedArray();
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  for (let done = 0; done < bytes.length; done += blockBytes) {
    yield bytes.subarray(done, done + blockBytes);
    onProgress?.(Math.min(done + blockBytes, bytes.length), bytes.length);
  }
}
