import type { Reservoir } from '../array/reservoir';
import type { Encoded, EncodedBuffer } from '../codec/encode';
import { pageAlignedFrom } from '../codec/object-format';
import { typeError } from '../errors';
import type { Extent } from './extents';
import { pageBytes } from './heap';

/** So much is copied at a time; between two of them the event loop has its turn. */
const sliceBytes = 2 ** 25;

/** Copies an object into its pages, slice by slice. What it is copied from must not change meanwhile. */
export function* copyObject(pages: Reservoir, extent: Extent, object: Encoded): Generator<void> {
  const start = extent.start * pageBytes;
  if (!extent.warm) yield* fillHoles(pages, start, extent.pages * pageBytes, object);
  pages.write(start, object.head);
  for (const buffer of object.buffers) {
    if (!extent.warm && isFilled(buffer)) continue;
    yield* inSlices(buffer, (slice, at) => pages.write(start + buffer.offset + at, slice));
  }
}

/** These begin at a page, and are put into fresh pages as they come into being. */
const isFilled = ({ byteLength }: EncodedBuffer): boolean => byteLength >= pageAlignedFrom;

/** Every page once: with a large buffer's bytes where there is one, else with zeros. */
function* fillHoles(pages: Reservoir, start: number, byteLength: number, { buffers }: Encoded): Generator<void> {
  let filled = 0;
  for (const buffer of buffers) {
    if (!isFilled(buffer)) continue;
    const { offset } = buffer;
    if (offset > filled) yield* fillZeros(pages, start + filled, offset - filled);
    filled = offset + Math.ceil(buffer.byteLength / pageBytes) * pageBytes;
    yield* inSlices(buffer, (slice, at) => {
      pages.fill(start + offset + at, Math.ceil(slice.byteLength / pageBytes) * pageBytes, slice);
    });
  }
  if (byteLength > filled) yield* fillZeros(pages, start + filled, byteLength - filled);
}

export function* fillZeros(pages: Reservoir, start: number, byteLength: number): Generator<void> {
  for (let at = 0; at < byteLength; at += sliceBytes) {
    if (at > 0) yield;
    pages.fill(start + at, Math.min(sliceBytes, byteLength - at), null);
  }
}

function* inSlices(
  { bytes, byteLength }: EncodedBuffer,
  copy: (slice: Uint8Array, at: number) => void,
): Generator<void> {
  for (let at = 0; at < byteLength; at += sliceBytes) {
    if (at > 0) yield;
    if (bytes.byteLength !== byteLength) {
      throw typeError('ERR_NDSHM_INVALID_ARGUMENT', 'A buffer was transferred or resized while it was being put');
    }
    copy(bytes.subarray(at, at + sliceBytes), at);
  }
}

/** Runs all steps at once. */
export function runSync<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** Runs the steps, with a turn of the event loop between each two. */
export async function run<T>(steps: Generator<void, T>): Promise<T> {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
