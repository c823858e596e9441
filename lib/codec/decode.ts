import type { CodedError } from '../errors';
import { DocumentReader } from './document-reader';
import { corrupt, readLayout } from './object-format';
import { InstanceError, type InstanceOf, Specials } from './specials';

export interface DecodeOptions {
  /** Whether pages under the object were lost. */
  readonly faulted?: () => boolean;
  /** Makes what EncodeOptions.instance has made specials of. */
  readonly instance?: InstanceOf;
}

const never = () => false;

/**
 * The value of an object's bytes, which begin at a multiple of 64 in their buffer. Typed arrays and SharedArrays in it are
 * views on that buffer; ArrayBuffers are copies. The bytes may be anything, and what is made of them takes room in
 * proportion to them. Errors: ERR_NDSHM_CORRUPT_OBJECT; ERR_NDSHM_UNSUPPORTED for a Float16Array where there is no such
 * class, and for an Arrow table without the library; what `instance` throws.
 */
export function decode(object: Uint8Array, options?: DecodeOptions): unknown {
  try {
    const { bytes, documentAt, documentEnd, buffers } = readLayout(object);
    const reader = new DocumentReader(bytes, documentAt, documentEnd);
    const { holder, specials } = reader.read();
    if (reader.places.length > 0) {
      const memory = { bytes, buffers, faulted: options?.faulted ?? never };
      new Specials(specials, memory, options?.instance).putInto(reader.places);
    }
    return holder.root;
  } catch (error) {
    if (error instanceof InstanceError) throw error.cause;
    const { code } = error as Partial<CodedError>;
    if (code === 'ERR_NDSHM_CORRUPT_OBJECT' || code === 'ERR_NDSHM_UNSUPPORTED') throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw Object.assign(corrupt(why), { cause: error });
  }
}
