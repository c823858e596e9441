"""What the Python programs do before they touch fresh memory; support/fresh-memory.mjs says why."""
import os

BLOCK = b"\1" * (8 << 20)


def leave_touched_memory(byte_length):
    fd = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        done = 0
        while done < byte_length:
            done += os.write(fd, BLOCK[: byte_length - done])
    finally:
        os.close(fd)
