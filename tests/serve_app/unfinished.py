"""Uploads that stop halfway, on a bare connection."""

from __future__ import annotations

import contextlib
import socket

import httpx

from tests.serve_app.orders import GENERATIONS


def start_upload(http: httpx.Client, framing: str, sent_bytes: int) -> socket.socket:
    """Sends the head and a part of a body."""
    url = http.base_url
    connection = socket.create_connection((url.host, url.port or 80), timeout=20)
    request_line = f"POST {url.raw_path.decode()}{GENERATIONS[1:]} HTTP/1.1"
    connection.sendall(
        f"{request_line}\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode()
    )
    piece = b" " * 100_000
    with contextlib.suppress(ConnectionError):
        for _ in range(0, sent_bytes, len(piece)):
            connection.sendall(b"%X\r\n%b\r\n" % (len(piece), piece) if "chunked" in framing else piece)
    return connection


def read_answer(connection: socket.socket) -> bytes:
    """The answer to an unfinished request: an error, so it ends in two braces."""
    answer = b""
    while not answer.endswith(b"}}"):
        answer += connection.recv(65536)
    return answer
