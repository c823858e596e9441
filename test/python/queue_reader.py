"""What is in a queue in /dev/shm, by docs/format.md alone, while nobody uses it."""
import numpy as np


def items(name):
    """The bytes of each item, oldest first."""
    elements = np.load('/dev/shm/' + name, mmap_mode='r')
    if elements[:6].tobytes().rstrip(b'\0') != b'Queue':
        raise ValueError(f'{name} is no queue')
    max_items, max_bytes = elements[8:10].tolist()
    put, taken, _ = elements[16:19].tolist()
    places = elements[19:][:2 * max_items].reshape(max_items, 2).tolist()
    count = int(elements[6])
    data = elements[16 + count + count % 2:].tobytes()[:max_bytes]
    for number in range(taken, taken + (put - taken) % (2 * max_items)):
        start, length = places[number % max_items]
        yield (data + data)[start:start + length]
