// What the processes of ndshm's pool run for the particle filter.
import { ArrayTable } from 'ndshm';
import { move } from './pool-work.mjs';

let particles;

export function openParticles(tableName, handle) {
  const table = ArrayTable.open(tableName);
  particles = table.getArray(handle);
  table.close();
}

export function propagate({ index, times }) {
  move(particles.data, index, times);
}
