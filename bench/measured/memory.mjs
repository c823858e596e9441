// Asked by the parent: 'read' attaches the array and reads each page, 'pss' tells the proportional set size in bytes.
import { readFileSync } from 'node:fs';
import { open } from 'ndshm';
import { answer } from '../support/members.mjs';

const { way, name } = JSON.parse(process.argv[2]);
const held = [];

function read() {
  const array = open(name);
  const data = way === 'copy' ? array.data.slice() : array.data;
  if (way === 'copy') array.close();
  held.push(data);
  let sum = 0;
  for (let n = 0; n < data.length; n++) sum += data[n];
  return sum;
}

const pss = () => Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'))[1]) * 1024;

answer({ read, pss });
