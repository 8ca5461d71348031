from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from support.cutout_server import start_raw_server

from skymetal.catalogs.web import connection as connection_module
from skymetal.catalogs.web.answers import ERROR_BODY_BYTES, MAX_RETRY_AFTER_S, FetchFailed
from skymetal.catalogs.web.http import Fetched, FetchLimits, fetch, fetch_patiently
from skymetal.catalogs.web.pace import Pacer

pytestmark = pytest.mark.timeout(20)
DEADLINE_S = 0.5
LIMITS = FetchLimits(max_bytes=100_000, deadline_s=DEADLINE_S, attempts=3, backoff_s=0.01, total_s=5)
OK = b"HTTP/1.1 200 OK\r\n"
Answer = Callable[[socket.socket], None]


def receive(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        if not piece:
            break
        data += piece
    return data


def sends(*pieces: bytes, pause: float = 0) -> Answer:
    def answer(connection: socket.socket) -> None:
        receive(connection)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        connection.shutdown(socket.SHUT_WR)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """Answer the first connection by the first, and so on; the last answers all that follow."""
    left = list(answers)

    def answer(connection: socket.socket) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection)

    return answer


def get(answer: Answer, path: str = "") -> Fetched:
    with start_raw_server(answer) as url:
        return fetch(url + path, limits=LIMITS, user_agent="test/1")


def failure(answer: Answer) -> FetchFailed:
    start = time.monotonic()
    with start_raw_server(answer) as url, pytest.raises(FetchFailed) as caught:
        fetch(url, limits=LIMITS, user_agent="test/1")
    assert time.monotonic() - start < DEADLINE_S + 1
    assert caught.value.reason == str(caught.value)
    assert "\n" not in caught.value.reason
    assert caught.value.reason[:1].islower() or caught.value.reason.startswith("HTTP ")
    return caught.value


def test_a_whole_answer_comes_back_and_the_request_says_who_asks() -> None:
    requests = []

    def answer(connection: socket.socket) -> None:
        requests.append(receive(connection))
        connection.sendall(OK + b"Content-Length: 5\r\n\r\nhello")

    with start_raw_server(answer) as url:
        fetched = fetch(url + "a/b?ra=1&dec=-2", limits=LIMITS, user_agent="skymetal/1 (me@x.org)")
        assert fetched == Fetched(url=url + "a/b?ra=1&dec=-2", body=b"hello", is_whole_known=True)
    lines = requests[0].decode().split("\r\n")
    assert lines[0] == "GET /a/b?ra=1&dec=-2 HTTP/1.1"
    assert {"User-Agent: skymetal/1 (me@x.org)", "Accept-Encoding: identity", "Connection: close"} < set(lines)
    assert f"Host: {url[7:-1]}" in lines


def test_chunks_are_joined_and_a_body_without_length_is_marked_as_unproven() -> None:
    chunked = get(sends(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"))
    assert (chunked.body, chunked.is_whole_known) == (b"abcde", True)
    unproven = get(sends(OK + b"\r\nabc"))
    assert (unproven.body, unproven.is_whole_known) == (b"abc", False)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"Content-Length: 10\r\n\r\nabc", "short body: 3 of 10 bytes"),
        (b"Content-Length: 10\r\n\r\n", "short body: 0 of 10 bytes"),
        (b"Transfer-Encoding: chunked\r\n\r\n8\r\nabc", "short body: a chunk was cut"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "short body: a chunk was cut"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0", "short body: a chunk was cut"),
        (b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n", "short body: a chunk was cut"),
        (b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n", "short body: a chunk was cut"),
        (b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "not HTTP: Transfer-Encoding is gzip, chunked"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "not HTTP: Transfer-Encoding is chunked"),
        (b"Content-Length: -1\r\n\r\nabc", "not HTTP: Content-Length is -1"),
        (b"Content-Length: 1e3\r\n\r\nabc", "not HTTP: Content-Length is 1e3"),
        (b"Content-Length: 3\r\nContent-Length: 2\r\n\r\nabc", "not HTTP: Content-Length is 3, 2"),
        (b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "compressed body: Content-Encoding is gzip"),
        (b"X: y\r\n" * 100_000 + b"\r\n", "not HTTP: got more than 100 headers"),
        (b"X: " + b"y" * 100_000 + b"\r\n\r\n", "not HTTP: got more than 65536 bytes"),
    ],
)
def test_a_body_that_cannot_be_trusted_is_not_taken(answer: bytes, reason: str) -> None:
    error = failure(sends(OK + answer))
    assert error.reason.startswith(reason)
    assert not error.is_final


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP: SSH-2.0-OpenSSH_9.6"),
        (b"\x00\xff\x1b[31m" * 100, r"not HTTP: \x00ÿ\x1b[31m"),
        (b"HTTP/9.9 200 OK\r\n\r\n", "not HTTP: HTTP/9.9"),
        (b"HTTP/1.1 many OK\r\n\r\n", "not HTTP: HTTP/1.1 many OK"),
        (b"x" * 200_000, "not HTTP: got more than 65536 bytes"),
        (b"", "no answer: the connection was closed"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "HTTP 204: no content"),
        (b"HTTP/1.1 999 What\r\n\r\n", "HTTP 999: unknown status"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", "HTTP 500: internal server error"),
    ],
)
def test_what_is_no_answer_is_named_and_may_be_asked_for_again(answer: bytes, reason: str) -> None:
    error = failure(sends(answer))
    assert error.reason.startswith(reason)
    assert len(error.reason) < 120
    assert not error.is_final


@pytest.mark.parametrize(("status", "is_final"), [(400, True), (403, True), (404, True), (408, False), (429, False)])
def test_asking_again_after_a_clients_error_is_useless_except_for_haste(status: int, is_final: bool) -> None:
    error = failure(sends(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
    assert (error.status, error.is_final) == (status, is_final)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"Content-Length: 5\r\n\r\nsorry", b"sorry"),
        (b"\r\nsorry", b"sorry"),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nso\r\n3\r\nrry\r\n0\r\n\r\n", b"sorry"),
        (b"Content-Length: 99\r\n\r\nsorry", b"sorry"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\nxyz", b"sorry"),
        (b"Content-Length: 0\r\n\r\n", b""),
        (b"\r\n" + b"x" * 99_999, b"x" * ERROR_BODY_BYTES),
    ],
)
def test_the_page_of_an_error_is_kept_as_far_as_it_came(answer: bytes, body: bytes) -> None:
    error = failure(sends(b"HTTP/1.1 500 X\r\n" + answer))
    assert (error.reason, error.status, error.body) == ("HTTP 500: internal server error", 500, body)


@pytest.mark.parametrize("length", [b"", b"Content-Length: 30\r\n", b"Content-Length: 999999999999\r\n"])
def test_the_page_of_an_error_that_drips_keeps_the_deadline(length: bytes) -> None:
    error = failure(drips(b"HTTP/1.1 500 X\r\n" + length + b"\r\n"))
    assert error.status == 500
    assert set(error.body) == {ord("x")}


def endless(connection: socket.socket) -> None:
    receive(connection)
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def endless_headers(connection: socket.socket) -> None:
    receive(connection)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\nX: " + b"x" * 60_000 + b"\r\n\r\n")


def endless_chunk(connection: socket.socket) -> None:
    receive(connection)
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n")
    while True:
        connection.sendall(b"x" * 65536)


@pytest.mark.parametrize(
    "answer",
    [
        endless,
        endless_headers,
        endless_chunk,
        sends(OK + b"Content-Length: 1000000000000000\r\n\r\n", b"x" * 65536),
        sends(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
        sends(OK + b"Content-Length: 100001\r\n\r\n" + b"x" * 100_001),
        sends(OK + b"Content-Encoding: gzip\r\nContent-Length: 400000\r\n\r\n" + b"\x1f\x8b" * 200_000),
    ],
)
def test_memory_stays_small_whatever_is_sent(answer: Answer) -> None:
    tracemalloc.start()
    try:
        error = failure(answer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.reason.startswith(("too large: ", "compressed body: "))
    assert peak < 3 << 20


def silent(connection: socket.socket) -> None:
    connection.recv(4096)
    time.sleep(3)


def drips(start: bytes) -> Answer:
    return sends(start, *[b"x"] * 30, pause=0.1)


@pytest.mark.parametrize(
    "answer",
    [silent, drips(b""), drips(OK + b"X: "), drips(OK + b"Content-Length: 30\r\n\r\n"), drips(OK + b"\r\n")],
    ids=["silence", "status", "header", "body", "body without length"],
)
def test_nothing_outlasts_the_deadline(answer: Answer) -> None:
    error = failure(answer)
    assert error.reason == "timed out: no whole answer in 0.5 s"
    assert not error.is_final


def test_the_deadline_holds_while_connecting_and_in_a_handshake() -> None:
    with start_raw_server(silent) as url:
        start = time.monotonic()
        with pytest.raises(FetchFailed, match="timed out: no whole answer"):
            fetch(url.replace("http:", "https:"), limits=LIMITS, user_agent="test/1")
        assert time.monotonic() - start < DEADLINE_S + 1
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    try:
        for _ in range(8):  # nobody accepts: the queue fills, and then connecting takes for ever
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(full.getsockname())
            waiting.append(client)
        time.sleep(0.05)
        start = time.monotonic()
        with pytest.raises(FetchFailed, match="timed out: no whole answer"):
            fetch(f"http://127.0.0.1:{full.getsockname()[1]}/", limits=LIMITS, user_agent="test/1")
        assert time.monotonic() - start < DEADLINE_S + 1
    finally:
        for client in [*waiting, full]:
            client.close()


def test_a_name_server_that_does_not_answer_does_not_hold_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [time.sleep(3)])
    start = time.monotonic()
    with pytest.raises(FetchFailed, match="timed out"):
        fetch("http://sky.example/", limits=LIMITS, user_agent="test/1")
    assert time.monotonic() - start < DEADLINE_S + 1


def test_a_reset_a_refusal_and_an_unknown_host_are_told_apart() -> None:
    def reset(connection: socket.socket) -> None:
        receive(connection)
        connection.sendall(OK + b"Content-Length: 100\r\n\r\nabc")
        time.sleep(0.05)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    assert failure(reset).reason == "connection broken"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    with pytest.raises(FetchFailed, match="connection refused"):
        fetch(url, limits=LIMITS, user_agent="test/1")
    with pytest.raises(FetchFailed, match="host not found"):
        fetch(f"http://{'a' * 70}.invalid/", limits=LIMITS, user_agent="test/1")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/", "http:///x", "http://u:p@x/", "http://x/ y", "http://x:99999/"]
)
def test_only_web_addresses_are_asked(url: str) -> None:
    with pytest.raises(FetchFailed, match="not a web address") as caught:
        fetch(url, limits=LIMITS, user_agent="test/1")
    assert caught.value.is_final


def redirect(location: str, status: int = 301) -> Answer:
    return sends(f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_host_is_followed(status: int) -> None:
    fetched = get(in_turn(redirect("/there?a=1", status), sends(OK + b"Content-Length: 2\r\n\r\nok")))
    assert fetched.body == b"ok"
    assert fetched.url.endswith("/there?a=1")


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "redirected to no web address: file:///etc/passwd"),
        ("http://other.example/x", "redirected to another host: other.example"),
        ("//other.example/x", "redirected to another host: other.example"),
        ("http://[::1]/", "redirected to another host: ::1"),
        ("http://localhost/", "redirected to another host: localhost"),
        ("http://127.0.0.1.evil.example/", "redirected to another host: 127.0.0.1.evil.example"),
        ("http://127.0.0.1@evil.example/", "redirected to no web address"),
        ("http://127.0.0.1:1/", "redirected to another port: 1"),
        ("http://[broken/", "redirected to no web address"),
        ("/\x1b[31m", "redirected to no web address"),
        ("", "redirected in a circle"),
    ],
)
def test_a_redirect_elsewhere_is_refused(location: str, reason: str) -> None:
    error = failure(redirect(location))
    assert error.reason.startswith(reason)
    assert error.is_final


def test_redirects_end() -> None:
    assert failure(in_turn(redirect("/a"), redirect("/"))).reason == "redirected in a circle"
    steps = [redirect(f"/{step}") for step in range(7)]
    assert failure(in_turn(*steps)).reason == "redirected more than 5 times"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("99999", MAX_RETRY_AFTER_S),
        ("9" * 5000, MAX_RETRY_AFTER_S),
        ("-5", None),
        ("soon", None),
        ("1e3", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S),
        ("Fri, 99 Foo 9999", None),
    ],
)
def test_retry_after_is_believed_within_reason(header: str, seconds: float | None) -> None:
    error = failure(sends(f"HTTP/1.1 503 Busy\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode()))
    assert error.reason == "HTTP 503: service unavailable"
    assert error.retry_after_s == seconds


def test_retry_after_may_be_a_date() -> None:
    date = formatdate(time.time() + 60, usegmt=True)
    error = failure(sends(f"HTTP/1.1 429 Busy\r\nRetry-After: {date}\r\nContent-Length: 0\r\n\r\n".encode()))
    assert error.retry_after_s is not None
    assert 55 < error.retry_after_s <= 60


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    try:
        subprocess.run([*command.split(), "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("making a certificate needs the program openssl")
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def fresh_trust() -> Iterator[None]:
    connection_module._tls_context.cache_clear()
    yield
    connection_module._tls_context.cache_clear()


def test_a_certificate_must_be_trusted_and_name_the_host(
    certificate: Path, fresh_trust: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            sends(OK + b"Content-Length: 6\r\n\r\nsecret")(secure)

    with start_raw_server(answer) as url:
        url = url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(FetchFailed, match="certificate refused: self-signed certificate") as caught:
            fetch(url, limits=LIMITS, user_agent="test/1")
        assert caught.value.is_final
        connection_module._tls_context.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
        assert fetch(url, limits=LIMITS, user_agent="test/1").body == b"secret"
        with pytest.raises(FetchFailed, match=r"certificate refused: .*127\.0\.0\.1"):
            fetch(url.replace("localhost", "127.0.0.1"), limits=LIMITS, user_agent="test/1")
    plain: Answer = lambda connection: connection.sendall(b"HTTP/1.1 400 plain text here\r\n\r\n")  # noqa: E731
    with start_raw_server(plain) as url, pytest.raises(FetchFailed, match="no secure connection: "):
        fetch(url.replace("http:", "https:"), limits=LIMITS, user_agent="test/1")


def test_patience_passes_over_what_passes() -> None:
    good = sends(OK + b"Content-Length: 4\r\n\r\ngood")
    answers = in_turn(sends(b"HTTP/1.1 500 X\r\n\r\n"), sends(OK + b"Content-Length: 3\r\n\r\nbad"), good)
    with start_raw_server(answers) as url:
        fetched = fetch_patiently(
            url, limits=LIMITS, user_agent="test/1", accept=lambda body: "" if body == b"good" else "bad: not good"
        )
    assert fetched.body == b"good"


def test_patience_ends_after_its_tries_with_the_last_reason() -> None:
    requests = []

    def answer(connection: socket.socket) -> None:
        requests.append(receive(connection))
        connection.sendall(OK + b"Content-Length: 3\r\n\r\nbad")

    with start_raw_server(answer) as url, pytest.raises(FetchFailed, match="bad: not good"):
        fetch_patiently(url, limits=LIMITS, user_agent="test/1", accept=lambda _: "bad: not good")
    assert len(requests) == LIMITS.attempts
    with (
        start_raw_server(in_turn(sends(b"HTTP/1.1 404 X\r\n\r\n"), endless)) as url,
        pytest.raises(FetchFailed) as caught,
    ):
        fetch_patiently(url, limits=LIMITS, user_agent="test/1")
    assert caught.value.status == 404


def busy_for(seconds: int) -> Answer:
    return sends(b"HTTP/1.1 503 Busy\r\nRetry-After: %d\r\nContent-Length: 0\r\n\r\n" % seconds)


def test_retry_after_is_waited_for_by_everybody(tmp_path: Path) -> None:
    good = sends(OK + b"Content-Length: 4\r\n\r\ngood")
    pacer = Pacer(folder=tmp_path, host="h", requests_per_second=1000)
    start = time.monotonic()
    with start_raw_server(in_turn(busy_for(1), good)) as url:
        thread = threading.Thread(
            target=lambda: fetch_patiently(url, limits=LIMITS, user_agent="test/1", pacer=pacer), daemon=True
        )
        thread.start()
        time.sleep(0.3)
        assert pacer.wait()
        assert time.monotonic() - start > 0.9
        thread.join(timeout=5)
    assert time.monotonic() - start < 3


def test_waiting_for_a_turn_is_no_failure_however_long(tmp_path: Path) -> None:
    answers = in_turn(sends(b"HTTP/1.1 500 X\r\n\r\n"), sends(OK + b"Content-Length: 4\r\n\r\ngood"))
    pacer = Pacer(folder=tmp_path, host="h", requests_per_second=2)
    assert pacer.wait()
    limits = replace(LIMITS, total_s=0.3)
    with start_raw_server(answers) as url:
        assert fetch_patiently(url, limits=limits, user_agent="test/1", pacer=pacer).body == b"good"


def test_a_pause_beyond_the_total_deadline_is_not_begun() -> None:
    start = time.monotonic()
    with start_raw_server(busy_for(100)) as url, pytest.raises(FetchFailed, match="HTTP 503"):
        fetch_patiently(url, limits=LIMITS, user_agent="test/1")
    assert time.monotonic() - start < 1


def test_waiting_for_a_turn_ends_when_the_caller_stops(tmp_path: Path) -> None:
    stopping = threading.Event()
    threading.Timer(0.2, stopping.set).start()
    held = Pacer(folder=tmp_path, host="h", requests_per_second=1)
    held.hold(60)
    with pytest.raises(FetchFailed, match="stopped"):
        fetch_patiently("http://127.0.0.1:9/", limits=LIMITS, user_agent="test/1", pacer=held, stopping=stopping)


def test_a_pause_ends_when_the_caller_stops() -> None:
    stopping = threading.Event()
    threading.Timer(0.2, stopping.set).start()
    start = time.monotonic()
    limits = FetchLimits(attempts=5, total_s=100)
    with start_raw_server(busy_for(50)) as url, pytest.raises(FetchFailed):
        fetch_patiently(url, limits=limits, user_agent="test/1", stopping=stopping)
    assert time.monotonic() - start < 2


def test_the_limits_also_hold_outside_of_the_main_thread() -> None:
    """No signal is used for the deadline: Dask's tasks run in threads."""
    errors: list[FetchFailed] = []

    def ask(url: str) -> None:
        with pytest.raises(FetchFailed) as caught:
            fetch(url, limits=LIMITS, user_agent="test/1")
        errors.append(caught.value)

    with start_raw_server(drips(OK + b"\r\n")) as url:
        threads = [threading.Thread(target=ask, args=(url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=DEADLINE_S + 1)
        assert [error.reason for error in errors] == ["timed out: no whole answer in 0.5 s"] * 4
