"""A time limit for calls on a socket that have none of their own."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

CHECK_EVERY_S = 0.1


class SocketDeadline:
    """Shuts a socket down when a deadline passes, which ends whatever waits on it.

    One thread looks every 0.1 s, for the life of the socket: a timer for each call would take longer to start than a small message to send.

    Args:
        sock: connected.

    >>> here, there = socket.socketpair()
    >>> with here, there, SocketDeadline(here) as limit:
    ...     limit.set(time.monotonic() + 0.01)
    ...     here.recv(1)
    b''
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._deadline: float | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="socket deadline", daemon=True).start()

    def set(self, deadline: float | None) -> None:
        """Sets the deadline by `time.monotonic`; None lifts it."""
        self._deadline = deadline

    def close(self) -> None:
        """Ends the thread; leaves the socket alone."""
        self._ended.set()

    def __enter__(self) -> SocketDeadline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self) -> None:
        while not self._ended.wait(CHECK_EVERY_S):
            deadline = self._deadline
            if deadline is not None and time.monotonic() >= deadline:
                shut(self._socket)
                return


def shut(sock: socket.socket) -> None:
    """Ends whatever waits on a socket, in any thread."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
