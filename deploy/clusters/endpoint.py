"""Where a scheduler listens, and whether it may be spoken to: off loopback only by mutual TLS.

Whoever speaks to a Dask scheduler or worker can run code there.
"""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from skymetal.catalogs.errors import InputError


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


def refuse_unguarded(endpoint: Endpoint, *, tls_dir: str, insecure: bool, where: str) -> None:
    """Raise InputError for a plain address off loopback, and for TLS without certificates."""
    if endpoint.scheme == "tls" and not tls_dir:
        raise InputError(
            f"{where} speaks TLS, which takes certificates: set [cluster] tls_dir (`skymetal cluster certs` makes one)"
        )
    if endpoint.scheme == "tcp" and tls_dir:
        raise InputError(f"{where} is plain tcp://, but tls_dir is set; write tls://, or leave tls_dir out")
    if endpoint.scheme == "tcp" and not endpoint.is_loopback and not insecure:
        raise InputError(
            f"{where} is plain tcp:// to {endpoint.host}: whoever reaches that port can run code there and read what "
            "passes. Use tls:// and tls_dir (`skymetal cluster certs`), or write [cluster] insecure = true"
        )
