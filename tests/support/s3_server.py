"""A real S3 server on loopback, moto's, in a process and an environment of its own, and a proxy that fails on demand.

moto needs libraries in other versions than skymetal does, so `make test` gives it a virtual environment inside ours.
"""

from __future__ import annotations

import http.client
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

MOTO = Path(sys.prefix) / "moto" / "bin" / "python"
# One request at a time: moto looks whether an object is there, and then makes it, without a lock.
SERVE = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
"""
BUCKET = "bucket"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "a-secret", "AWS_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[str]:
    """Serve an empty bucket; give the address."""
    if not MOTO.exists():
        pytest.skip(f"there is no S3 server at {MOTO}; `make test` installs one")
    port = free_port()
    process = subprocess.Popen(
        [str(MOTO), "-c", SERVE, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT"), timeout=30).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield address
    finally:
        process.kill()
        process.wait(timeout=30)


Fault = Callable[[int, http.server.BaseHTTPRequestHandler], str]
"""Given the number of a request of its method and the request, what goes wrong with it: a word, or nothing."""
LOSE_ANSWER, SLOW_DOWN, CUT_BODY, CUT_REQUEST = "lose the answer", "slow down", "cut the body", "cut the request"


@dataclass
class Proxy:
    """What stands between, and what it has done; set ``fault`` at any time."""

    server: str
    address: str = ""
    fault: Fault = lambda number, request: ""
    counts: dict[str, int] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)


@contextmanager
def faulty_proxy(server: str) -> Iterator[Proxy]:
    """Pass requests on to an S3 server, but for those that the proxy's ``fault`` names."""
    proxy = Proxy(server=server)
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                proxy.counts[self.command] = number = proxy.counts.get(self.command, 0) + 1
                wrong = proxy.fault(number, self)
                if wrong:
                    proxy.done.append(f"{wrong}: {self.command} {self.path}")
            self.close_connection = True
            if wrong == SLOW_DOWN:
                self.answer(503, b"<Error><Code>SlowDown</Code></Error>", {})
                return
            if wrong == CUT_REQUEST:
                return
            status, headers, data = forward(proxy.server, self, body)
            if wrong == LOSE_ANSWER:
                return
            self.answer(status, data, headers, cut=wrong == CUT_BODY)

        def answer(self, status: int, data: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)

        def log_message(self, *_: Any) -> None:
            pass

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_one

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # a client that went away is what this is for

    with Server(("127.0.0.1", 0), Handler) as listener:
        proxy.address = f"http://127.0.0.1:{listener.server_address[1]}"
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield proxy
        listener.shutdown()


_HOP = ("connection", "transfer-encoding", "server", "date")


def forward(server: str, request: http.server.BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=60)
    connection.request(request.command, request.path, body=body, headers=dict(request.headers))
    with connection.getresponse() as answer:
        data = answer.read()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
        return answer.status, headers, data


def environment(address: str) -> dict[str, str]:
    """Return the environment in which a process finds the server."""
    return {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": address}
