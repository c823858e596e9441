// Run by Bun for musl, which can call a C library: libndshm.so loads there, and makes and removes a segment.
import { dlopen, ptr } from 'bun:ffi';

const [, , library, name] = process.argv;
const { symbols: c } = dlopen(library, {
  ndshm_abi_version: { returns: 'u32' },
  ndshm_segment_new: { returns: 'ptr' },
  ndshm_segment_allocate: {
    args: ['ptr', 'ptr', 'u64', 'u32', 'ptr', 'i32', 'i32', 'ptr', 'ptr'],
    returns: 'i32',
  },
  ndshm_segment_publish: { args: ['ptr', 'ptr', 'i32', 'ptr'], returns: 'i32' },
  ndshm_segment_unlink: { args: ['ptr', 'ptr'], returns: 'i32' },
  ndshm_segment_free: { args: ['ptr'], returns: 'void' },
});
// Held here: nobody but the library sees where they are.
const error = Buffer.alloc(32);
const header = new Uint8Array(4096);
const nameBytes = Buffer.from(`${name}\0`);
const check = (result) => {
  if (result < 0) throw new Error(`status ${error.readUInt32LE(0)}, errno ${error.readInt32LE(4)}`);
};

const segment = c.ndshm_segment_new();
check(c.ndshm_segment_allocate(segment, ptr(header), 4096, 0, null, 0, 0, null, ptr(error)));
check(c.ndshm_segment_publish(segment, ptr(nameBytes), 0, ptr(error)));
check(c.ndshm_segment_unlink(segment, ptr(error)));
c.ndshm_segment_free(segment);
console.log(`OK libndshm.so ${c.ndshm_abi_version()}`);
