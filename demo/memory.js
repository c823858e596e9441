const { readFileSync } = require('node:fs');

/**
 * What the kernel says of a process's memory, in bytes. Pss, the proportional set size, counts a page that n processes
 * hold as 1/n of a page in each of them: the sum over processes is what they take together (man 5 proc).
 */
function memoryOf(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const bytes = (key) => Number(new RegExp(`^${key}: +(\\d+) kB$`, 'm').exec(text)[1]) * 1024;
  return {
    rss: bytes('Rss'),
    pss: bytes('Pss'),
    shared: bytes('Shared_Clean') + bytes('Shared_Dirty'),
    private: bytes('Private_Clean') + bytes('Private_Dirty'),
  };
}

module.exports = { memoryOf };
