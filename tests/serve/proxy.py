"""A proxy before a server that cannot be stopped for a test, since others use it: to a client it is the same."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Stands before a server on TCP, and can be cut: what is open falls, what comes is refused."""

    def __init__(self, host: str, port: int) -> None:
        self._to, self._open, self._cut = (host, port), list[socket.socket](), False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._cut = True
        for end in self._open:
            _shut(end)
        self._open.clear()

    def mend(self) -> None:
        self._cut = False

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                near.close()
                continue
            far = socket.create_connection(self._to)
            self._open += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    @staticmethod
    def _pump(a: socket.socket, b: socket.socket) -> None:
        with suppress(OSError):
            while part := a.recv(65_536):
                b.sendall(part)
        _shut(b)
        a.close()  # the other direction closes the other end

    def close(self) -> None:
        self.cut()
        _shut(self._listener)
        self._listener.close()


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
