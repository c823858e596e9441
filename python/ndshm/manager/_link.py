"""A connection's bytes, both ways, by one thread of its own: callers never wait for the socket."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import Error, bytes_in_words, error
from ._dial import Stream
from ._frames import EMPTY, FrameReader
from ._limits import MAX_BUFFERED_BYTES

_CHUNK_BYTES = 2**18
# Heartbeats in a row that may be missing. A count, not a time: a process that was busy itself has heard nothing.
_MAX_SILENT_BEATS = 3


class _Bell:
    """Wakes the thread. Its descriptors live as long as who may ring: closed ones may be somebody else's by then."""

    def __init__(self) -> None:
        self._ring: int | None
        self.hear, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ring(self) -> None:
        if self._ring is not None:
            with contextlib.suppress(BlockingIOError):  # it is ringing
                os.write(self._ring, b"\0")

    def silence(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.hear, _CHUNK_BYTES)

    def __del__(self) -> None:
        # Whoever is collected at the same time may still ring.
        ring, self._ring = self._ring, None
        os.close(self.hear)
        if ring is not None:
            os.close(ring)


class Link:
    """Sends frames and hears messages until it ends, by whatever it may be."""

    def __init__(
        self,
        stream: Stream,
        heartbeat: float | None,
        on_message: Callable[[Any], None],
        on_end: Callable[[Error], None],
    ) -> None:
        """Both callbacks run in the link's thread; what on_message() raises ends the link. `heartbeat`: seconds; None =
        the kernel tells when the other side is gone.
        """
        self._socket, self._not_now = stream
        self._heartbeat = heartbeat
        self._on_message = on_message
        self._on_end = on_end
        self._reader = FrameReader()
        self._bell = _Bell()
        # Frames in pieces, and what of them counts. A garbage collection may append, so no lock is taken for it.
        self._outgoing: deque[tuple[tuple[bytes, ...], int]] = deque()
        # Of the frame that is being sent.
        self._pieces: deque[memoryview] = deque()
        self._piece_bytes = 0
        # Two counts, each of which one thread at a time writes.
        self._queued_bytes = 0
        self._sent_bytes = 0
        self._ended_by: Error | None = None
        self._beat_at = 0.0
        self._has_sent = False
        self._silent_beats = 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="ndshm-manager", daemon=True)
        self._thread.start()

    def send(self, frame: tuple[bytes, ...]) -> None:
        """Never blocks. One caller at a time. Errors: ERR_NDSHM_LIMIT, and then it is not sent."""
        count = sum(map(len, frame))
        queued = self._queued_bytes + count
        waiting = queued - self._sent_bytes
        if waiting > MAX_BUFFERED_BYTES:
            raise error("ERR_NDSHM_LIMIT", f"The manager does not take what it is sent: {bytes_in_words(waiting)} wait")
        self._queued_bytes = queued
        self._outgoing.append((frame, count))
        self._bell.ring()

    def send_at_any_time(self, frame: tuple[bytes, ...]) -> None:
        """For __del__(), which may interrupt anything, send() too. Of a few bytes, which do not count."""
        self._outgoing.append((frame, 0))
        self._bell.ring()

    def end(self, reason: Error) -> None:
        """Ends the link; returns at once."""
        self._ended_by = reason
        self._bell.ring()

    def join(self, timeout: float) -> None:
        """Waits until the thread has ended, if it is another one."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def leave_to_parent(self) -> None:
        """In a forked child, where there is no such thread: only this process's descriptor is closed."""
        self._socket.close()

    # ---- in the thread ----

    def _run(self) -> None:
        reason = error("ERR_NDSHM_MANAGER_LOST", "The connection has ended: the manager has ended or closed it")
        try:
            self._exchange()
            reason = self._ended_by or reason
        except Error as broken:
            reason = broken
        except OSError as cause:
            reason.__cause__ = cause
        except Exception as cause:  # whatever it is: nobody may wait for ever
            reason = error("ERR_NDSHM_PROTOCOL", f"The other side sent what nobody expects: {cause!r}")
            reason.__cause__ = cause
        finally:
            self._socket.close()
            self._on_end(reason)

    def _exchange(self) -> None:
        """Until the other side ends the connection, or end() is called."""
        poll = select.poll()
        poll.register(self._bell.hear, select.POLLIN)
        self._next_beat()
        while self._ended_by is None:
            wants = select.POLLIN | (select.POLLOUT if self._pieces or self._outgoing else 0)
            poll.register(self._socket, wants)
            poll.poll(self._patience_ms())
            self._bell.silence()
            self._pour()
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except self._not_now:
                data = None
            if data == b"":
                return
            if data is not None:
                self._silent_beats = 0
                for message in self._reader.push(data):
                    self._on_message(message)
            if self._heartbeat is not None and time.monotonic() >= self._beat_at:
                self._beat()

    def _pour(self) -> None:
        """Into the socket what it has room for."""
        while True:
            while self._pieces and not self._pieces[0]:
                self._pieces.popleft()
            if not self._pieces:
                self._sent_bytes += self._piece_bytes
                self._piece_bytes = 0
                if not self._outgoing:
                    return
                frame, self._piece_bytes = self._outgoing.popleft()
                self._pieces.extend(map(memoryview, frame))
                continue
            try:
                count = self._socket.send(self._pieces[0])
            except self._not_now:
                return
            except (BrokenPipeError, ConnectionResetError):
                # Nobody hears any more. What the other side said before may tell why.
                self._pieces.clear()
                self._outgoing.clear()
                return
            self._has_sent = True
            self._pieces[0] = self._pieces[0][count:]

    def _patience_ms(self) -> float | None:
        pending = getattr(self._socket, "pending", None)  # TLS has decrypted more than was asked for
        if pending is not None and pending() > 0:
            return 0
        return None if self._heartbeat is None else max(0.0, (self._beat_at - time.monotonic()) * 1000)

    def _next_beat(self) -> None:
        if self._heartbeat is not None:
            self._beat_at = time.monotonic() + self._heartbeat

    def _beat(self) -> None:
        self._next_beat()
        if not self._has_sent:
            self.send_at_any_time((EMPTY,))
        self._has_sent = False
        self._silent_beats += 1
        if self._silent_beats > _MAX_SILENT_BEATS:
            raise TimeoutError("Nothing has come for three heartbeats")
