"""An S3-compatible server on loopback (moto's, in a process of its own), and one that errs before
it: what tests of storage by URL read and write.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from urllib.parse import urlsplit

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
SERVE = """
import logging, os, sys, threading
from moto.moto_server.werkzeug_app import create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import run_simple

class Handler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

def end():
    sys.stdin.read()
    os._exit(0)

threading.Thread(target=end, daemon=True).start()
logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = create_backend_app("s3")
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=Handler)
"""
"""moto's S3 alone: its server would look through its folder for whose each request is, which took
half of the time, and ended each connection. It ends with whoever started it, however that ends.
"""
SECONDS = 60
"""So long may the server take to start."""


@contextmanager
def serving() -> Iterator[str]:
    """Yield the address of the server of this process: each file has buckets or paths of its own.

    To start one takes a second, and several files of tests ask for it.
    """
    if find_spec("moto") is None:  # the server alone imports it, which takes most of a second
        pytest.skip("moto is not installed")
    process, address = _started()
    assert process.poll() is None
    yield address


@cache
def _started() -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, quiet = [sys.executable, "-c", SERVE, str(port)], subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
    until = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, f"http://127.0.0.1:{port}"
        except OSError:
            assert process.poll() is None and time.monotonic() < until, "moto does not start"
            time.sleep(0.05)


def point(patch: pytest.MonkeyPatch, address: str) -> None:
    """Let this process, and those that it starts, use the server at `address`."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
        patch.setenv(name, value)


def make_bucket(address: str, name: str) -> None:
    """Make a bucket."""
    host = urlsplit(address).netloc
    connection = http.client.HTTPConnection(host)
    credential = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request"
    connection.request("PUT", f"/{name}", headers={"Authorization": credential})
    assert connection.getresponse().status == 200
    connection.close()


class Between:
    """Stands between a client and the server at `address`: `refuse` says what is not let through.

    It is given method and path, and returns a status and a code of S3's, or None. `seen` has each
    request that was let through.
    """

    def __init__(self, address: str) -> None:
        self.address, self.seen = address, list[tuple[str, str]]()
        self.refuse: Callable[[str, str], tuple[int, str] | None] = lambda method, path: None
        self.refused = 0

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Yield the address of the one in between."""
        between, host = self, urlsplit(self.address).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else a body waits for the receipt of its head, 40 ms.
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                self.behind = http.client.HTTPConnection(host)

            def finish(self) -> None:
                super().finish()
                self.behind.close()

            def log_message(self, *arguments: object) -> None:
                pass

            def handle_one(self) -> None:
                data = self._body()
                if (wrong := between.refuse(self.command, self.path)) is not None:
                    between.refused += 1
                    status, code = wrong
                    body = f'<?xml version="1.0"?><Error><Code>{code}</Code></Error>'.encode()
                    self._answer(status, {"Content-Type": "application/xml"}, body)
                    return
                between.seen.append((self.command, self.path))
                kept = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
                self.behind.request(self.command, self.path, body=data, headers=kept)
                answer = self.behind.getresponse()
                body = answer.read()
                headers = {k: v for k, v in answer.getheaders() if k.lower() not in HOP}
                length = answer.getheader("Content-Length")
                self._answer(answer.status, headers, body, length)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_one

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                data = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return data

            def _answer(
                self, status: int, headers: dict[str, str], body: bytes, length: str | None = None
            ) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                head = self.command == "HEAD"
                self.send_header("Content-Length", length if head and length else str(len(body)))
                self.end_headers()
                if not head:
                    self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "expect", "host")
"""Headers of one hop alone."""
