"""How the launcher asks a service whether it is ready."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from serve_app.readiness import missing
from tests.test_files import ROOT

ANSWERS = {
    "/well": (200, b'{"status": "ok"}'),
    "/loads": (503, b'{"status": "incomplete", "missing": {"Storage": "is being loaded"}}'),
    "/serve": (404, b"Path '/healthz' not found."),
    "/other": (503, b"[]"),
}


@pytest.fixture
def url() -> Iterator[str]:
    """A service of which nothing but its health is there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = ANSWERS[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_is_asked_itself_whatever_proxy_the_environment_names(url: str) -> None:
    program = f"from serve_app.readiness import missing; assert missing('{url}/well') == {{}}"
    environment = {"http_proxy": "http://127.0.0.1:1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


@pytest.mark.parametrize(
    ("path", "reasons"),
    [
        ("/loads", {"Storage": "is being loaded"}),
        ("/serve", {"Ingress": "starts"}),
        ("/other", {"Ingress": "starts"}),
    ],
)
def test_what_is_missing_is_what_it_says(url: str, path: str, reasons: dict[str, str]) -> None:
    assert missing(url + path) == reasons


def test_before_anything_answers_ray_starts() -> None:
    assert missing("http://127.0.0.1:1/healthz") == {"Ray": "starts"}
