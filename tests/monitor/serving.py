"""A small server on this machine that answers as a test wants and keeps what it was sent."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Served:
    port: int
    requests: list[Request] = field(default_factory=list)
    mails: list[list[str]] = field(default_factory=list)


@contextmanager
def served(
    *,
    answers: Sequence[tuple[int, dict[str, str]]] = ((200, {}),),
    tls: ssl.SSLContext | None = None,
    drip: threading.Event | None = None,
    raw: bytes | None = None,
    mail: bool = False,
) -> Iterator[Served]:
    """``answers``: (status, headers) in turn, the last for ever; ``drip``: a byte now and then until it is set."""
    listener = socket.create_server(("127.0.0.1", 0))
    found = Served(listener.getsockname()[1])

    def run() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(5)
                with suppress(OSError, ValueError):
                    own = connection if tls is None else tls.wrap_socket(connection, server_side=True)
                    with own:
                        _mail(own, found) if mail else _answer(own, found, answers, drip, raw)
                connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _answer(
    own: socket.socket,
    found: Served,
    answers: Sequence[tuple[int, dict[str, str]]],
    drip: threading.Event | None,
    raw: bytes | None,
) -> None:
    stream = own.makefile("rb")
    method, path, _ = stream.readline().decode().split(" ")
    headers = {}
    while line := stream.readline().decode().rstrip("\r\n"):
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    body = stream.read(int(headers.get("content-length", 0)))
    status, extra = answers[min(len(found.requests), len(answers) - 1)]
    found.requests.append(Request(method, path, headers, body))
    if raw is not None:
        own.sendall(raw)
        return
    if drip is not None:
        own.sendall(b"HTTP/1.1 200 OK\r\n")
        while not drip.wait(0.05):
            own.sendall(b"X: y\r\n")
        return
    lines = [f"HTTP/1.1 {status} Said", "Content-Length: 2", *(f"{k}: {v}" for k, v in extra.items()), "", "ok"]
    own.sendall("\r\n".join(lines).encode())


def _mail(own: socket.socket, found: Served) -> None:
    """Enough of a mail server for one letter."""
    stream = own.makefile("rb")
    own.sendall(b"220 here\r\n")
    said: list[str] = []
    found.mails.append(said)
    while line := stream.readline().decode().rstrip("\r\n"):
        said.append(line)
        word = line[:4].upper()
        if word == "DATA":
            own.sendall(b"354 go on\r\n")
            while (text := stream.readline().decode().rstrip("\r\n")) != ".":
                said.append(text)
            own.sendall(b"250 taken\r\n")
        elif word == "QUIT":
            own.sendall(b"221 bye\r\n")
            return
        elif word == "EHLO":
            own.sendall(b"250-here\r\n250 AUTH PLAIN LOGIN\r\n")
        elif word == "AUTH":
            own.sendall(b"535 no\r\n" if "wrong" in found.__dict__.get("login", "") else b"235 yes\r\n")
        else:
            own.sendall(b"250 yes\r\n")
