"""An S3 service on loopback, in memory: what obstore asks of one, with failures and delays on order."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape


@dataclass
class FakeBucket:
    """One bucket called `bucket`. `fail_put` of n lets the n-th PUT from now be refused, 0 all of them."""

    objects: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    """Bytes and modification time (Unix seconds) by key."""
    fail_put: int | None = None
    delay_s: float = 0.0
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                time.sleep(bucket.delay_s)
                is_new = self.headers.get("if-none-match") == "*"
                status, headers, content = bucket.handle(self.command, self.path, body, is_new)
                self.send_response(status)
                for name, value in {"content-length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def handle(self, method: str, url: str, body: bytes, is_new: bool) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer; with `is_new` a PUT replaces nothing."""
        parts = urlsplit(url)
        key = parts.path.removeprefix("/bucket").lstrip("/")
        with self._lock:
            self.requests.append(f"{method} {key}")
            match method:
                case "PUT" if is_new and key in self.objects:
                    return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
                case "PUT":
                    if self.fail_put is not None:
                        self.fail_put -= 1
                        if self.fail_put <= 0:
                            return 403, {}, b"<Error><Code>QuotaExceeded</Code></Error>"
                    self.objects[key] = body, time.time()
                    return 200, {"etag": '"1"'}, b""
                case "POST":
                    keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
                    for deleted in keys:
                        self.objects.pop(deleted, None)
                    answers = "".join(f"<Deleted><Key>{deleted}</Key></Deleted>" for deleted in keys)
                    return 200, {}, f"<DeleteResult>{answers}</DeleteResult>".encode()
                case "GET" if not key:
                    return 200, {}, self._listing(parse_qs(parts.query).get("prefix", [""])[0])
                case _:
                    if key not in self.objects:
                        return 404, {}, b""
                    data, modified_s = self.objects[key]
                    modified = datetime.fromtimestamp(modified_s, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
                    return 200, {"etag": '"1"', "last-modified": modified, "content-length": str(len(data))}, data

    def _listing(self, prefix: str) -> bytes:
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>1</ETag>"
            f"<LastModified>{datetime.fromtimestamp(modified_s, UTC):%Y-%m-%dT%H:%M:%S.000Z}</LastModified></Contents>"
            for key, (data, modified_s) in self.objects.items()
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()
