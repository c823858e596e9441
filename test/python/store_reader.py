"""The bytes of a store's objects in /dev/shm, by docs/format.md alone."""
import fcntl
import mmap
import os
import struct

import numpy as np

PAGE, CONTROL, LIVE, SPILLING, SPILLED = 4096, 20480, 2, 4, 5
SLOTS = [0, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768,
         49152, 65536]


def segment(name, parent=None):
    file = open('/dev/shm/' + name, 'rb')
    control = os.pread(file.fileno(), CONTROL, os.fstat(file.fileno()).st_size - CONTROL)
    if parent is not None and control[320:336] != parent:
        raise KeyError(f'{name} is of another store')
    return file, control[32:48]


def object_bytes(ref):
    """Of a small object a copy. A large one's are leased until the last array on them is gone."""
    store, segment_id = segment(ref['store'])
    if segment_id.hex() != ref['storeId']:
        raise KeyError('an earlier store')
    pages, _ = segment(ref['store'] + '.pages.0', segment_id)
    words = np.memmap(store, '<i4', 'r', PAGE)
    if words[6] != 41807:
        raise ValueError('a store of another layout')
    chunk, index = divmod(ref['object'], 2**17)
    if chunk >= words[796]:
        raise KeyError('no such object')
    kind, start, count = words[861 + 4 * chunk:][:3].tolist()
    row = np.memmap(pages, '<i4', 'r', PAGE * (1 + start), (count, 16))[index]

    def state():
        if row[0] >> 4 != ref['generation'] or (row[0] & 15) not in (LIVE, SPILLING, SPILLED):
            raise KeyError('deleted, or not sealed')
        return row[0] & 15

    before, length, first = state(), int(row[2:4].view('<u8')[0]), int(row[4])
    if before != SPILLED:
        slots = PAGE * (1 + start + -(-64 * count // PAGE))
        data = copied(pages, slots + index * SLOTS[kind], length) if kind > 0 else leased(pages, first, length)
        if state() != SPILLED:
            return data
    folder = np.load(f"/dev/shm/{ref['store']}.spill.0").tobytes().decode()
    return np.memmap(f"{folder}/{ref['object']}.{ref['generation']}", mode='r')


def copied(pages, at, length):
    return os.pread(pages.fileno(), length, at)


def leased(pages, first, length):
    lease = struct.pack('hhqqi4x', fcntl.F_RDLCK, os.SEEK_SET, 2**41 + first, -(-length // PAGE), 0)
    fcntl.fcntl(pages, fcntl.F_OFD_SETLK, lease)  # it is the open file's, which the mapping keeps
    return mmap.mmap(pages.fileno(), length, prot=mmap.PROT_READ, offset=PAGE * (1 + first))
