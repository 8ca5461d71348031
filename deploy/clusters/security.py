"""Mutual TLS: both sides of every connection show a certificate of one authority, from the job's tls_dir."""

from __future__ import annotations

import contextlib
import ssl
import time
from pathlib import Path

from distributed import Security

from skymetal.catalogs.errors import InputError, first_line
from skymetal.deploy.clusters.settings import ClusterSettings

CA, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"

_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_AUTHORITY = (7, 18, 19, 20, 21)
_LONG_ROUNDS = 8  # of a handshake in memory, which takes three


class ClusterUnusable(RuntimeError):
    """The cluster that the job names cannot be had as it is; its text is one sentence."""


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
