"""Who may talk to a cluster: whoever speaks to a Dask scheduler or worker can run code there.

So nothing is reached, or listens, off loopback without mutual TLS: both sides show a certificate of one authority.
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from distributed import Security

from skymetal.catalogs.errors import InputError, first_line
from skymetal.deploy.clusters.settings import ClusterSettings

CA, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"

_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_AUTHORITY = (7, 18, 19, 20, 21)
_LONG_ROUNDS = 8  # of a handshake in memory, which takes three


class ClusterUnusable(RuntimeError):
    """The cluster that the job names cannot be had as it is; its text is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a scheduler listens."""

    scheme: str
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False


def parse_address(address: str, *, where: str) -> Endpoint:
    """Return where a scheduler's address points. Raises InputError for anything but tls:// or tcp://HOST:PORT."""
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    plain = f"{scheme}://{f'[{host}]' if ':' in (host or '') else host}:{port}"
    if scheme not in ("tls", "tcp") or not host or not port or address.lower() != plain:
        raise InputError(f"{where} must be tls://HOST:PORT (or tcp:// on loopback), got {address!r}")
    return Endpoint(scheme=scheme, host=host, port=port)


def refuse_unguarded(endpoint: Endpoint, settings: ClusterSettings, *, where: str) -> None:
    """Raise InputError for a plain address off loopback, and for TLS without certificates."""
    if endpoint.scheme == "tls" and not settings.tls_dir:
        raise InputError(
            f"{where} speaks TLS, which takes certificates: set [cluster] tls_dir to a folder with {CA}, "
            f"{CERTIFICATE} and {KEY} (`skymetal cluster certs` makes one)"
        )
    if endpoint.scheme == "tcp" and settings.tls_dir:
        raise InputError(f"{where} is plain tcp://, but tls_dir is set; write tls://, or leave tls_dir out")
    if endpoint.scheme == "tcp" and not endpoint.is_loopback and not settings.insecure:
        raise InputError(
            f"{where} is plain tcp:// to {endpoint.host}: whoever reaches that port can run code there and read what "
            "passes. Use tls:// and tls_dir (`skymetal cluster certs`), or write [cluster] insecure = true"
        )


def guard(settings: ClusterSettings) -> Security | None:
    """Return what guards a cluster that we start and that listens off loopback; None where insecure is written."""
    if not settings.tls_dir and not settings.insecure:
        raise InputError(
            f"[cluster] kind = {settings.kind!r} listens off this machine, and whoever reaches it can run code: set "
            "tls_dir (`skymetal cluster certs` makes one), or write insecure = true"
        )
    return load_security(settings)


def load_security(settings: ClusterSettings) -> Security | None:
    """Return the certificates in tls_dir, tried on themselves, for each role; None where there is no tls_dir.

    Raises InputError where a file is missing, ClusterUnusable where they would not be accepted.
    """
    if not settings.tls_dir:
        return None
    folder = Path(settings.tls_dir)
    for name in (CA, CERTIFICATE, KEY):
        if not (folder / name).is_file():
            raise InputError(
                f"[cluster] tls_dir {folder} has no {name}; `skymetal cluster certs` makes {CA}, {CERTIFICATE}, {KEY}"
            )
    security = Security(
        require_encryption=True,
        tls_ca_file=str(folder / CA),
        **{f"tls_{role}_cert": str(folder / CERTIFICATE) for role in ("client", "scheduler", "worker")},
        **{f"tls_{role}_key": str(folder / KEY) for role in ("client", "scheduler", "worker")},
    )
    expiry(security)
    return security


def expiry(security: Security) -> float:
    """Return when the certificate ends, in seconds since 1970.

    It is shown to itself in a handshake in memory, as Dask would: raises ClusterUnusable where that fails.
    """
    where = Path(security.get_tls_config_for_role("client")["cert"]).parent
    try:
        server = security.get_listen_args("scheduler")["ssl_context"]
        client = security.get_connection_args("client")["ssl_context"]
        certificate = _shake_hands(server, client)
    except ssl.SSLCertVerificationError as error:
        raise ClusterUnusable(f"the certificate in {where} is no good: {explain(error)}") from error
    except OSError as error:  # ssl.SSLError is one
        raise ClusterUnusable(
            f"the certificates in {where} cannot be used: {error.strerror or first_line(error)}"
        ) from error
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))


def explain(error: ssl.SSLCertVerificationError) -> str:
    """Return what is wrong with a certificate, and what to do."""
    if error.verify_code == _EXPIRED:
        return "it has expired; make new ones with `skymetal cluster certs`"
    if error.verify_code == _NOT_YET_VALID:
        now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        return f"it is not valid yet; is this machine's clock right ({now})?"
    if error.verify_code in _OTHER_AUTHORITY:
        return f"another authority signed it than that of {CA}; copy the same tls_dir to every machine"
    return error.verify_message


def _shake_hands(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> dict[str, object]:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    for _ in range(_LONG_ROUNDS):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return dict(server.getpeercert() or {})
