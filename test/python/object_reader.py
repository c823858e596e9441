"""The value of an object's bytes, by docs/format.md alone. Arrays in it are views on the bytes."""
import struct

import msgpack
import numpy as np


class Special(int):
    """Stands for one in the document."""


def decode(data):
    """A Map is a list of pairs, a Set a list; what has no like in Python is a list as the format has it."""
    data = memoryview(data)
    magic, version, length, count = struct.unpack_from('<4sIII', data)
    if (magic, version) != (b'NDOB', 1):
        raise ValueError('not an object of version 1')
    places = list(struct.iter_unpack('<QQ', data[16:16 + 16 * count]))
    root, *specials = msgpack.unpackb(
        data[16 + 16 * count:][:length],
        strict_map_key=False,
        ext_hook=lambda _, number: Special(int.from_bytes(number, 'little')),
    )
    values = [make(special, lambda n: data[places[n][0]:][:places[n][1]]) for special in specials]

    # Only now that all are there, since they may be in each other.
    for special, value in zip(specials, values):
        tag, *rest = special
        if tag == 'Map':
            value += zip(*[(resolve(part, values) for part in rest)] * 2)
        elif tag == 'Set':
            value += (resolve(part, values) for part in rest)
        elif tag == 'Entries':
            value.update(zip(*[(resolve(part, values) for part in rest)] * 2))
        elif tag in ('List', 'Object') or value is special:
            resolve(value, values)
    return resolve(root, values)


def resolve(part, values):
    if isinstance(part, Special):
        return values[part]
    if isinstance(part, list):
        part[:] = [resolve(each, values) for each in part]
    elif isinstance(part, dict):
        for key in part:
            part[key] = resolve(part[key], values)
    return part


def make(special, buffer):
    match special:
        case ['List' | 'Object', container]: return container
        case ['Map' | 'Set', *_]: return []
        case ['Entries', *_]: return {}
        case ['undefined']: return None
        case ['-0']: return -0.0
        case ['BigInt', digits]: return int(digits, 16)
        case ['UTF16', data]: return data.decode('utf-16-le', 'surrogatepass')
        case ['Date', ms]: return np.datetime64('NaT' if ms is None else int(ms), 'ms')
        case ['ndarray', descr, shape, order, n]: return np.frombuffer(buffer(n), descr).reshape(shape, order=order)
        case ['ArrayBuffer' | 'Buffer' | 'DataView' | 'Arrow', n]: return np.frombuffer(buffer(n), np.uint8)
        case [name, int(n)] if name.endswith('Array') and name != 'Array':
            dtype = name.removesuffix('Array').removeprefix('Big').replace('Clamped', '').lower()
            return np.frombuffer(buffer(n), dtype)
    return special
