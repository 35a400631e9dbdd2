"""A time at which a connection is cut, however slowly bytes still drip in.

HTTP clients bound each wait for bytes, not their sum: so the socket is shut down from a timer.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class HardDeadline:
    """Cuts the socket that it holds `seconds` after the block begins, unless that has ended.

    Attributes:
        passed: the time has come; whatever was read until then is not whole.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(max(seconds, 0.0), self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()

    def hold(self, connection: socket.socket | None) -> None:
        """Cut this one: at once if the time has come before there was a connection."""
        self._socket = connection
        if self.passed:
            self._shut_down()

    def _cut(self) -> None:
        self.passed = True
        self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            # The plain socket's method: TLS must not try to say goodbye to who does not listen,
            # nor take its state away from the thread that reads.
            with contextlib.suppress(OSError):  # it is closed already: nobody waits for it
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
