"""A server on this machine that behaves like the SDSS and Legacy cutout services on a bad day.

Every picture and every fault follows from the seed and the position asked for. Run it alone, from tests/, with
``python -m support.cutout_server --log requests.jsonl --port 8123``.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from astropy.io import fits
from PIL import Image

PASSING = {"busy": 0.005, "hiccup": 0.04, "moved": 0.03, "empty": 0.02, "truncated": 0.02, "cut": 0.02, "page": 0.02}
"""What goes wrong the first time a position is asked for; ``moved`` every time."""
# Two more have to be asked for by name: "down" is 503, and "elsewhere" flux of a place four pixels to the north.
LASTING = {"broken": 0.005, "missing": 0.005, "black": 0.02, "clipped": 0.01, "slow": 0.01}
"""What goes wrong every time; black and slow answers are whole."""
FAULTS = PASSING | LASTING
QUARANTINED = ("broken", "missing", "black", "clipped")
SLOW_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Request:
    """One line of the log."""

    time: float
    path: str
    query: dict[str, str]

    @property
    def position(self) -> tuple[str, str]:
        return self.query["ra"], self.query["dec"]


def fate(seed: int, ra: str, dec: str, faults: Mapping[str, float] = FAULTS) -> str:
    """Return what happens to the requests for a position: "fine", or the name of a fault."""
    share = random.Random(f"{seed} {ra} {dec}").random()
    for name, fraction in faults.items():
        share -= fraction
        if share < 0:
            return name
    return "fine"


def draw(query: Mapping[str, str], size: int, *, is_black: bool = False) -> bytes:
    """Return the JPEG of a position: a round galaxy on noise, no two alike."""
    text = "&".join(f"{name}={value}" for name, value in sorted(query.items()) if name != "moved")
    rng = np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))
    y_H, x_W = np.mgrid[:size, :size] - size / 2
    galaxy = np.exp(-np.hypot(x_W, y_H) / (size * rng.uniform(0.05, 0.2)))
    light = galaxy[:, :, None] * rng.uniform(120, 220, 3) + rng.normal(15, 5, (size, size, 3))
    pixels = np.clip(light, 0, 255).astype(np.uint8) * np.uint8(not is_black)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def draw_fits(query: Mapping[str, str], size: int, *, is_black: bool = False) -> bytes:
    """Return the FITS cutout of a position as Legacy's viewer makes them: bands in planes; 0 where there is no data."""
    picture = np.asarray(Image.open(io.BytesIO(draw(query, size)))).astype(np.float32) / 100
    flux_CHW = picture.transpose(2, 0, 1)[: len(query["bands"])] * np.float32(not is_black)
    header = fits.Header({"SURVEY": "LegacySurvey", "IMAGETYP": "image", "BANDS": query["bands"]})
    header.update({f"BAND{number}": band for number, band in enumerate(query["bands"])})
    scale_deg = float(query["pixscale"]) / 3600
    for axis, (kind, place, step) in enumerate((("RA---TAN", "ra", -scale_deg), ("DEC--TAN", "dec", scale_deg)), 1):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"] = kind, float(query[place])
        header[f"CRPIX{axis}"], header[f"CD{axis}_{axis}"] = (size + 1) / 2, step
    buffer = io.BytesIO()
    fits.PrimaryHDU(flux_CHW, header).writeto(buffer)
    return buffer.getvalue()


def read_log(path: Path) -> list[Request]:
    """Return every request so far, in order of arrival."""
    return [Request(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query))
        count = self.server.note(address.path, query)
        name = fate(self.server.seed, query["ra"], query["dec"], self.server.faults)
        if name == "moved" and "moved" not in query:
            return self.answer(301, b"", Location=f"{self.path}&moved=1")
        if name in PASSING and name != "moved" and count > 1:
            name = "fine"
        size = int(query.get("width") or query.get("size") or 0)
        if name == "busy":
            return self.answer(429, b"", **{"Retry-After": "1"})
        if name in ("hiccup", "broken", "missing"):
            return self.answer(404 if name == "missing" else 500, b"<html>sorry</html>")
        if name == "down":
            return self.answer(503, b"<html>sorry</html>")
        if name in ("empty", "page"):
            return self.answer(200, b"" if name == "empty" else b"<!DOCTYPE html><p>maintenance</p>")
        if name == "elsewhere":
            query["dec"] = str(float(query["dec"]) + 4 * float(query["pixscale"]) / 3600)
        paint = draw_fits if "bands" in query else draw
        picture = paint(query, size - 1 if name == "clipped" else size, is_black=name == "black")
        if name == "slow":
            time.sleep(SLOW_S)
        if name == "truncated":
            picture = picture[: len(picture) // 2]
        sent = picture[: len(picture) // 2] if name == "cut" else picture
        return self.answer(200, sent, **{"Content-Length": str(len(picture)), "Content-Type": "image/any"})

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the log is a file."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, log_path: Path, *, seed: int, faults: Mapping[str, float], port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.seed, self.faults = seed, faults
        self._counts = Counter(request.position for request in read_log(log_path))
        self._lock = threading.Lock()
        self._log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, path: str, query: dict[str, str]) -> int:
        """Log a request; return how often its position has now been asked for."""
        now = time.time()
        with self._lock:
            os.write(self._log, (json.dumps({"time": now, "path": path, "query": query}) + "\n").encode())
            position = query["ra"], query["dec"]
            self._counts[position] += "moved" not in query
            return self._counts[position]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle of an answer is no news."""
        if not isinstance(sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        os.close(self._log)


@contextmanager
def start_server(
    log_path: Path, *, seed: int = 0, faults: Mapping[str, float] = FAULTS, port: int = 0
) -> Iterator[str]:
    """Serve from a thread of this process; give the service's address, for SDSS and for Legacy alike."""
    server = _Server(log_path, seed=seed, faults=faults, port=port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/cutout"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@contextmanager
def start_raw_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Give the address of a server that leaves each connection to ``answer``, whatever that makes of HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.02)
    stopping = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(20)
            try:
                answer(connection)
            except OSError:
                return  # the client has had enough

    def listen() -> None:
        while not stopping.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        stopping.set()
        thread.join(timeout=10)
        listener.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with start_server(options.log, seed=options.seed, port=options.port) as url:
        print(url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
