import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import * as ndshm from 'ndshm';
import { headerExtent, parseHeader } from '../../dist/array/npy';
import { dtype, order, runs, timeoutMs } from '../helpers/arrays';
import { describeWithNumpy } from '../helpers/python';
import { PythonPeer } from '../helpers/python-peer';
import { freshName, shmPath, thrownBy } from '../helpers/shm';

// The parser itself is asked, past the public names: open() would not say what it understood of a header whose elements
// are not there.

const program = `
import io, warnings
try:
    from numpy.lib import _format_impl as npy
except ImportError: # numpy before 2.3
    from numpy.lib import format as npy
warnings.simplefilter('ignore')

def understand(given):
    file = io.BytesIO(bytes.fromhex(given))
    version = npy.read_magic(file)
    shape, fortran, dtype = npy._read_array_header(file, version)
    return {'dtype': dtype.name, 'order': 'F' if fortran else 'C', 'shape': list(shape), 'dataOffset': file.tell(), 'native': dtype.isnative}

def written(given):
    file = io.BytesIO()
    header = {'descr': np.dtype(given['dtype']).str, 'fortran_order': given['order'] == 'F', 'shape': tuple(given['shape'])}
    npy._write_array_header(file, header, given['version'])
    return file.getvalue().hex()

def answer(given):
    if isinstance(given, dict): return written({**given, 'version': tuple(given['version'])})
    try:
        return understand(given)
    except Exception as error: # whatever the parser of numpy and Python's own let through
        return type(error).__name__
`;

interface Understood {
  readonly dtype: string;
  readonly order: string;
  readonly shape: readonly number[];
  readonly dataOffset: number;
  readonly native: boolean;
}

const refusals = ['ERR_NDSHM_HEADER', 'ERR_NDSHM_DTYPE', 'ERR_NDSHM_SHAPE', 'ERR_NDSHM_TRUNCATED'];

/** What our parser makes of it; undefined where it refuses, which has to be by one of four codes. */
function understand(bytes: Buffer): Understood | undefined {
  try {
    const { spec, order, shape, dataOffset } = parseHeader(bytes, headerExtent(bytes, 'a test'), 'a test');
    return { dtype: spec.name, order, shape, dataOffset, native: true };
  } catch (error) {
    expect(refusals).toContain((error as { code?: string }).code);
    return undefined;
  }
}

function file(dict: string | Buffer, version = 1, claimed = Buffer.byteLength(dict, 'latin1')): Buffer {
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  if (version === 1) length.writeUInt16LE(claimed % 2 ** 16);
  else length.writeUInt32LE(claimed);
  const body = typeof dict === 'string' ? Buffer.from(dict, 'latin1') : dict;
  return Buffer.concat([Buffer.from(`\x93NUMPY${String.fromCharCode(version)}\0`, 'latin1'), length, body]);
}

const spaces = fc.constantFrom('', '', ' ', '  ');
const quoted = (text: string) => fc.constantFrom(`'${text}'`, `"${text}"`);
const descr = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('<f4', '<i8', '|u1', '|b1', '<c16') },
  fc
    .constantFrom('b1', 'i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16')
    .chain((code) => fc.constantFrom('<', '|', '=', '>', '').map((end) => end + code)),
  fc.constantFrom(
    'O',
    '|O',
    '|S8',
    '<U4',
    '<M8[s]',
    '<m8',
    '|V8',
    '<f16',
    '<f3',
    'f',
    'float64',
    'bool',
    '',
    '<',
    '<i8,<f4',
    '3i4',
  ),
);
const shape = fc.array(
  fc.oneof({ weight: 8, arbitrary: fc.nat(9) }, fc.constantFrom(0, 1, 2 ** 31, 2 ** 40, 2 ** 53 - 1)),
  { maxLength: 5 },
);

/** A legal dict in any spelling that our grammar has: order of keys, quotes, spaces, last commas. */
const spelling = fc.gen().map((choose) => {
  const gap = () => choose(() => spaces);
  const lengths = choose(() => shape);
  const tuple = `(${gap()}${lengths.map((length) => `${length}${gap()}`).join(`,${gap()}`)}${lengths.length === 1 || (lengths.length > 0 && choose(fc.boolean)) ? ',' : ''}${gap()})`;
  const entries = choose(fc.shuffledSubarray, ['descr', 'fortran_order', 'shape'], { minLength: 3 }).map((key) => {
    const value =
      key === 'shape'
        ? tuple
        : key === 'descr'
          ? choose(
              quoted,
              choose(() => descr),
            )
          : choose(fc.constantFrom, 'True', 'False');
    return `${choose(quoted, key)}${gap()}:${gap()}${value}${gap()}`;
  });
  const comma = choose(fc.boolean) ? ',' : '';
  return `{${gap()}${entries.join(`,${gap()}`)}${comma}${gap()}}${choose(() => fc.constantFrom('', ' ', '\n', '   \n', ' \n\n'))}`;
});

/** What attackers and accidents put in place of a part of the dict. */
const strange = fc.constantFrom(
  "__import__('os').abort()",
  "eval('1')",
  'lambda: 0',
  '[1]',
  '[',
  '((',
  '{}',
  '{',
  '(1,)*9',
  '1+1',
  '-1',
  '-1,',
  '+1,',
  '1e3',
  '1.0',
  '0x10',
  '0b1',
  '1_000',
  '007',
  '00',
  '9'.repeat(400),
  '1L',
  'True',
  'None',
  '...',
  '"',
  "'",
  '\\',
  '\\x66',
  '\\N{BULLET}',
  '\0',
  '\r',
  '\n',
  '\t',
  '\f',
  '\xa0',
  'é',
  '٣',
  '#',
  '# x\n',
  ',',
  ',,',
  ':',
  '}',
  ')',
  '} {',
  "'a' 'b'",
  "b'<f4'",
  "f'<f4'",
  "r'<f4'",
  "u'<f4'",
  "'''<f4'''",
  "'descr': '<f4', ",
  "'extra': 1, ",
  '**{}',
  ';',
  'false',
  'null',
);

const mutated = fc.gen().map((choose) => {
  let text = choose(() => spelling);
  for (let n = choose(fc.nat, 2); n >= 0; n--) {
    const at = choose(fc.nat, text.length);
    const length = choose(() => fc.oneof(fc.constant(0), fc.nat(12)));
    text = text.slice(0, at) + choose(() => fc.oneof(strange, fc.constant(''))) + text.slice(at + length);
  }
  return text;
});

const flipped = fc.gen().map((choose) => {
  const bytes = file(
    choose(() => spelling),
    choose(fc.constantFrom, 1, 2, 3),
  );
  for (let n = choose(fc.nat, 2); n > 0; n--) {
    const at = choose(fc.nat, bytes.length - 1);
    bytes[at] = choose(fc.nat, 255);
  }
  return bytes.subarray(
    0,
    choose(() => fc.oneof({ weight: 3, arbitrary: fc.constant(bytes.length) }, fc.nat(bytes.length))),
  );
});

const claims = fc.oneof(fc.nat(300), fc.constantFrom(0, 9_999, 10_000, 10_001, 65_535, 2 ** 31, 2 ** 32 - 1));

describeWithNumpy('the header parser beside numpy’s', () => {
  let numpy: PythonPeer;
  beforeAll(() => {
    numpy = new PythonPeer(program);
  });
  afterAll(() => numpy.close());

  const seen = { accepted: 0, refused: 0 };
  const expectNoMoreThanNumpy = async (bytes: Buffer): Promise<void> => {
    const ours = understand(bytes);
    seen[ours === undefined ? 'refused' : 'accepted']++;
    if (ours === undefined) return;
    const theirs = await numpy.ask<Understood | string>(bytes.toString('hex'));
    expect(ours).toEqual(typeof theirs === 'string' ? theirs : { ...theirs, native: true });
    // Single bytes have no order, whatever is written.
    if (typeof theirs !== 'string')
      expect(theirs.native || ['bool', 'int8', 'uint8'].includes(theirs.dtype)).toBe(true);
  };
  const expectBoth = (): void => {
    expect(Math.min(seen.accepted, seen.refused)).toBeGreaterThan(20);
  };
  beforeEach(() => {
    Object.assign(seen, { accepted: 0, refused: 0 });
  });

  test(
    'accepts all that numpy writes, in each version',
    async () => {
      const headers = fc.record({ dtype, order, shape, version: fc.constantFrom([1, 0], [2, 0], [3, 0]) });
      await fc.assert(
        fc.asyncProperty(headers, async (header) => {
          const bytes = Buffer.from(await numpy.ask<string>(header), 'hex');
          const count = header.shape.reduce((size, length) => size * Math.max(length, 1), 16);
          fc.pre(count <= Number.MAX_SAFE_INTEGER);
          const { dtype, order, shape } = header;
          expect(understand(bytes)).toEqual({ dtype, order, shape, dataOffset: bytes.length, native: true });
        }),
        runs(400),
      );
    },
    timeoutMs,
  );

  test(
    'understands any legal spelling as numpy does',
    async () => {
      await fc.assert(
        fc.asyncProperty(spelling, fc.constantFrom(1, 2, 3), (dict, version) =>
          expectNoMoreThanNumpy(file(dict, version)),
        ),
        runs(800),
      );
      expectBoth();
    },
    timeoutMs,
  );

  test(
    'accepts no damaged or hostile dict that numpy refuses, nor reads it otherwise',
    async () => {
      await fc.assert(
        fc.asyncProperty(mutated, fc.constantFrom(1, 2, 3), (dict, version) =>
          expectNoMoreThanNumpy(file(dict, version)),
        ),
        runs(3000),
      );
      expectBoth();
    },
    timeoutMs,
  );

  test(
    'accepts no flipped bytes or cut files that numpy refuses, nor reads them otherwise',
    async () => {
      await fc.assert(fc.asyncProperty(flipped, expectNoMoreThanNumpy), runs(3000));
      expectBoth();
    },
    timeoutMs,
  );

  test(
    'accepts no wrong header length that numpy refuses, nor reads it otherwise',
    async () => {
      await fc.assert(
        fc.asyncProperty(spelling, fc.constantFrom(1, 2, 3), claims, fc.boolean(), (dict, version, claimed, padded) =>
          expectNoMoreThanNumpy(file(padded ? dict.padEnd(20_000) : dict, version, claimed)),
        ),
        runs(1000),
      );
    },
    timeoutMs,
  );
});

describe('the header parser', () => {
  test('refuses anything at all by a code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(0, 6, 8, 10), (noise, kept) => {
        understand(Buffer.concat([file('').subarray(0, kept), noise]));
      }),
      runs(3000),
    );
  });

  const dict = (descr: string, shape: string) => `{'descr': ${descr}, 'fortran_order': False, 'shape': ${shape}, }\n`;
  test.each([
    ['an object dtype', dict("'|O'", '(1,)'), 'ERR_NDSHM_DTYPE'],
    ['a structured dtype', dict("[('a', '<f4')]", '(1,)'), 'ERR_NDSHM_DTYPE'],
    ['a string dtype', dict("'<U3'", '(1,)'), 'ERR_NDSHM_DTYPE'],
    ['big-endian numbers', dict("'>f4'", '(1,)'), 'ERR_NDSHM_DTYPE'],
    ['long doubles', dict("'<f16'", '(1,)'), 'ERR_NDSHM_DTYPE'],
    ['code for a dtype', dict("__import__('os')", '(1,)'), 'ERR_NDSHM_HEADER'],
    ['code in a string', dict("'<f4' if exit() else '<f4'", '(1,)'), 'ERR_NDSHM_HEADER'],
    ['a negative length', dict("'<f4'", '(-1,)'), 'ERR_NDSHM_HEADER'],
    ['a length in parentheses alone', dict("'<f4'", '(3)'), 'ERR_NDSHM_HEADER'],
    ['a list for a shape', dict("'<f4'", '[3]'), 'ERR_NDSHM_HEADER'],
    ['a length beyond 2^53', dict("'<f4'", '(9007199254740993,)'), 'ERR_NDSHM_HEADER'],
    ['a product beyond 2^53', dict("'<f4'", '(4294967296, 4294967296)'), 'ERR_NDSHM_SHAPE'],
    ['a product that overflows before a zero', dict("'<f4'", '(4294967296, 4294967296, 0)'), 'ERR_NDSHM_SHAPE'],
    ['65 dimensions', dict("'<f4'", `(${'1, '.repeat(65)})`), 'ERR_NDSHM_HEADER'],
    ['a key twice', `{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n`, 'ERR_NDSHM_HEADER'],
    ['a key too many', `{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1, }\n`, 'ERR_NDSHM_HEADER'],
    ['a key too few', `{'descr': '<f4', 'fortran_order': False, }\n`, 'ERR_NDSHM_HEADER'],
    ['a number for a boolean', `{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }\n`, 'ERR_NDSHM_HEADER'],
    ['a list', '[1, 2]\n', 'ERR_NDSHM_HEADER'],
    ['nothing', '', 'ERR_NDSHM_HEADER'],
    ['deep nesting', `${'('.repeat(9000)}\n`, 'ERR_NDSHM_HEADER'],
  ])('refuses %s, also through open()', (_what, text, code) => {
    const name = freshName();
    writeFileSync(shmPath(name), Buffer.concat([file(text), Buffer.alloc(64)]));
    expect(thrownBy(() => ndshm.open(name)).code).toBe(code);
    rmSync(shmPath(name));
  });

  test('reserves no memory that only a lying header asks for', () => {
    const peakBytes = () => Number(/VmPeak:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]) * 1024;
    const name = freshName();
    const before = peakBytes();
    for (const bytes of [
      file(dict("'<f4'", '(1,)'), 2, 2 ** 32 - 1),
      file(dict("'<f4'", '(1099511627776,)')),
      file(dict("'<f8'", '(1125899906842623,)')),
      file(dict("'|u1'", `(${'2, '.repeat(52)})`)),
    ]) {
      writeFileSync(shmPath(name), bytes);
      expect(refusals).toContain(thrownBy(() => ndshm.open(name)).code);
      expect(refusals).toContain(thrownBy(() => ndshm.load(freshName(), shmPath(name))).code);
    }
    rmSync(shmPath(name));
    expect(peakBytes() - before).toBeLessThan(2 ** 29);
  });
});
