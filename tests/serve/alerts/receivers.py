"""Receivers on this machine that answer as a test tells them: an HTTP server and a mail server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message as Letter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any


@dataclass
class Call:
    """One call that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]


@dataclass
class Answer:
    """What a receiver answers: after a wait for `hold`, if there is one."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    hold: threading.Event | None = None


class _Quiet(ThreadingHTTPServer):
    """Says nothing of callers that hang up."""

    def handle_error(self, *_: Any) -> None:
        """Nothing."""


class Receiver:
    """An HTTP server; `answer(call)` decides, `calls` holds what came."""

    def __init__(self, answer: Callable[[Call], Answer] = lambda call: Answer()) -> None:
        self.calls: list[Call] = []
        self.answer = answer
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                call = Call(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                receiver.calls.append(call)
                told = receiver.answer(call)
                if told.hold is not None:
                    told.hold.wait(30)
                try:
                    self.send_response(told.status)
                    for name, value in {"content-length": str(len(told.body)), **told.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(told.body)
                except OSError:
                    self.close_connection = True  # the caller has hung up

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class MailServer:
    """As much of SMTP as a letter needs; `refuse`: answers by command, `letters` holds what came."""

    def __init__(self, refuse: dict[str, str] | None = None) -> None:
        self.letters: list[Letter] = []
        self.refuse = refuse or {}
        mail = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                self.say("220 here")
                for line in self.rfile:
                    command = line.split(b":")[0].split()[0].decode().upper()
                    if command in mail.refuse:
                        self.say(mail.refuse[command])
                    elif command == "DATA":
                        self.say("354 go on")
                        mail.letters.append(message_from_bytes(b"".join(iter(self.rfile.readline, b".\r\n"))))
                        self.say("250 taken")
                    elif command == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 ok")

            def say(self, line: str) -> None:
                self.wfile.write(line.encode() + b"\r\n")

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
