import { table } from '../../dist/cli/output';
import * as words from '../../dist/cli/words';

describe('the words of the command line', () => {
  test.each([
    [0, '0 s'],
    [99, '99 s'],
    [100, '1 min'],
    [5999, '99 min'],
    [6000, '1 h'],
    [71 * 3600 + 3599, '71 h'],
    [72 * 3600, '3 d'],
    [-5, '0 s'],
  ])('what was %d s ago is %s old', (seconds, expected) => {
    const now = Date.now();
    expect(words.ageInWords(new Date(now - seconds * 1000), now)).toBe(expected);
  });

  test.each([
    [0o644, 'rw-r--r--'],
    [0o600, 'rw-------'],
    [0o777, 'rwxrwxrwx'],
    [0, '---------'],
  ])('permissions %d are %s', (bits, expected) => {
    expect(words.permissionsInWords(bits)).toBe(expected);
  });

  test('one is told from many', () => {
    expect([0, 1, 2].map((count) => words.countInWords(count, 'process'))).toEqual([
      '0 processes',
      '1 process',
      '2 processes',
    ]);
  });

  test.each([
    ['a\x1b[31mb', 'a\\x1b[31mb'],
    ['a\r\nb\x9b', 'a\\x0d\\x0ab\\x9b'],
    ['right\u202eleft', 'right\\u{202e}left'],
    ['line\u2028line', 'line\\u{2028}line'],
    ['日本語 é 🙂', '日本語 é 🙂'],
  ])('nothing that a terminal obeys is left of %j', (text, expected) => {
    expect(words.printable(text)).toBe(expected);
  });
});

describe('a table', () => {
  test('has columns of numbers aligned to the right, as wide as they have to be', () => {
    expect(
      table(
        ['NAME', 'N', 'M'],
        [
          ['a', 1, '–'],
          ['long-name', 1000, 5],
          ['日本', '–', 12],
        ],
      ),
    ).toBe(['NAME          N   M', 'a             1   –', 'long-name  1000   5', '日本          –  12'].join('\n'));
  });

  test('has no column of numbers where nothing is told', () => {
    expect(table(['A', 'NUMBER'], [['x', '–']])).toBe('A  NUMBER\nx  –');
  });

  test('without rows is nothing', () => {
    expect(table(['A'], [])).toBe('');
  });

  test('of thousands of rows takes no time to speak of', () => {
    const rows = Array.from({ length: 20_000 }, (_, n) => [`name-${n}`, n, 'é']);
    const started = performance.now();
    expect(table(['NAME', 'N', 'X'], rows).split('\n')).toHaveLength(20_001);
    // Linear: 0.1 s. By the square of the rows it would be minutes.
    expect(performance.now() - started).toBeLessThan(5000);
  });
});
