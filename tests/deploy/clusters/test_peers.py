"""A first look at schedulers of every kind; they are sockets of our own, each with Dask's TLS settings."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Security
from support.dask_processes import write_certificates

from skymetal.deploy.clusters.endpoint import Endpoint
from skymetal.deploy.clusters.peers import Refusal, look_at
from skymetal.deploy.clusters.security import CA, CERTIFICATE, KEY


def guard(folder: Path, *, ca: Path | None = None) -> Security:
    """As load_security makes it, untried: these certificates are meant to be wrong."""
    shown = {"cert": str(folder / CERTIFICATE), "key": str(folder / KEY)}
    roles = {f"tls_{role}_{what}": path for role in ("client", "scheduler") for what, path in shown.items()}
    return Security(require_encryption=True, tls_ca_file=str((ca or folder) / CA), **roles)


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[Endpoint]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Endpoint(scheme="tls", host="127.0.0.1", port=server.getsockname()[1])
        thread.join(timeout=10)


def speak_tls(security: Security) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        context = security.get_listen_args("scheduler")["ssl_context"]
        with context.wrap_socket(connection, server_side=True) as guarded:
            guarded.sendall(b"\0" * 8)
            guarded.recv(1)

    return answer


def speak_plain(connection: socket.socket) -> None:
    connection.sendall(b"\x3c\0\0\0\0\0\0\0" + b"\0" * 60)
    connection.recv(1)


def stay_silent(connection: socket.socket) -> None:
    connection.settimeout(5)
    while connection.recv(1024):
        pass


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificates(tmp_path_factory.mktemp("tls") / "tls")


def look(answer: Callable[[socket.socket], None], security: Security | None) -> Refusal | None:
    with listening(answer) as endpoint:
        return look_at(endpoint, security, seconds=1)


def test_a_scheduler_of_our_own_authority_answers(tls: Path) -> None:
    assert look(speak_tls(guard(tls)), guard(tls)) is None


def test_a_plain_scheduler_answers_a_plain_client() -> None:
    assert look(speak_plain, None) is None


def test_certificates_that_do_not_fit_are_told_apart_and_final(tls: Path, tmp_path: Path) -> None:
    other = write_certificates(tmp_path / "other")
    old = write_certificates(tmp_path / "old", begins_days=-9, ends_days=-1)
    shown = {
        "its certificate is not accepted: another authority signed it": look(speak_tls(guard(other)), guard(tls)),
        "its certificate is not accepted: it has expired": look(speak_tls(guard(old)), guard(tls, ca=old)),
        # Its own is accepted, but it does not accept ours.
        "another authority than its own signed our certificate": look(speak_tls(guard(tls)), guard(other, ca=tls)),
        "it says that our certificate has expired": look(speak_tls(guard(tls, ca=old)), guard(old, ca=tls)),
        "it speaks plain tcp, not TLS": look(speak_plain, guard(tls)),
    }
    for words, refusal in shown.items():
        assert refusal is not None, words
        assert words in refusal.reason
        assert not refusal.may_pass


def test_a_client_without_a_certificate_is_told_so_by_the_scheduler(tls: Path) -> None:
    bare = ssl.create_default_context(cafile=str(tls / CA))
    bare.check_hostname = False

    class Bare(Security):
        def get_connection_args(self, role: str) -> dict[str, object]:
            return {"ssl_context": bare}

    refusal = look(speak_tls(guard(tls)), Bare())
    assert refusal == Refusal(reason="it wants a certificate, and none was shown", may_pass=False)


def test_what_may_yet_come_may_be_waited_for(tls: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    nothing = look_at(Endpoint(scheme="tls", host="127.0.0.1", port=port), guard(tls))
    assert nothing == Refusal(reason="connection refused", may_pass=True)
    unknown = look_at(Endpoint(scheme="tls", host="no-such-host.invalid", port=port), guard(tls))
    assert unknown is not None
    assert unknown.may_pass
    assert "no host of that name is known here" in unknown.reason
    for security in (None, guard(tls)):
        gone = look(lambda connection: None, security)
        assert gone is not None
        assert gone.may_pass
    guarded = look(stay_silent, None)
    assert guarded is not None
    assert guarded.may_pass
    assert "is it a Dask scheduler, and does it want tls://?" in guarded.reason
    silent = look(stay_silent, guard(tls))
    assert silent == Refusal(reason="it does not answer within 1 s", may_pass=True)


def test_garbage_is_no_scheduler(tls: Path) -> None:
    def babble(connection: socket.socket) -> None:
        connection.sendall(bytes(range(256)) * 4)
        connection.recv(1)

    refusal = look(babble, guard(tls))
    assert refusal is not None
    assert not refusal.may_pass
