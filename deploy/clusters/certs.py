"""Certificates for mutual TLS: one authority, and one certificate that client, scheduler and workers all show.

Dask does not compare host names: whoever holds the certificate belongs to the cluster. So one is enough, and the
authority's key is thrown away: nobody can make another that would be accepted. The names are for other programs.

The one module that needs cryptography, an optional extra: import it where certificates are made.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.security import CA, CERTIFICATE, KEY

_HOST = re.compile(r"(?!-)[A-Za-z0-9*-]+(\.[A-Za-z0-9-]+)*")
_CLOCKS_APART = timedelta(hours=1)
_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """The contents of the three files, PEM."""

    ca: bytes
    certificate: bytes
    key: bytes


def write_certificates(folder: Path, *, hosts: Iterable[str], days: int) -> datetime:
    """Make certificates and write them, each readable by its owner alone; return when they end.

    Raises InputError where any of the files is there already, or the folder cannot be written.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    ends = now + timedelta(days=days)
    made = make_certificates(hosts, begins=now - _CLOCKS_APART, ends=ends)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = [name for name in (CA, CERTIFICATE, KEY) if os.path.lexists(folder / name)]
        if there:
            raise InputError(
                f"{folder} already has {', '.join(there)}; nothing is overwritten, as a running cluster may use them: "
                "name another folder"
            )
        for name, content in ((KEY, made.key), (CERTIFICATE, made.certificate), (CA, made.ca)):
            with open(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); name a folder you may write to") from error
    return ends


def make_certificates(hosts: Iterable[str], *, begins: datetime, ends: datetime) -> Certificates:
    """Make an authority and a certificate for these hosts. Raises InputError for what is no host's name or address."""
    names = [_alternative(host) for host in dict.fromkeys(hosts)]
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("skymetal cluster authority")

    def sign(subject: x509.Name, of: ec.EllipticCurvePrivateKey, extensions: Sequence[x509.ExtensionType]) -> bytes:
        builder = x509.CertificateBuilder(issuer, subject, of.public_key(), x509.random_serial_number(), begins, ends)
        for extension in extensions:
            builder = builder.add_extension(extension, isinstance(extension, x509.BasicConstraints | x509.KeyUsage))
        signed = builder.sign(authority_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    ca = [
        x509.BasicConstraints(ca=True, path_length=0),
        _usage("key_cert_sign", "crl_sign"),
        x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()),
    ]
    leaf = [
        x509.BasicConstraints(ca=False, path_length=None),
        _usage("digital_signature"),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
        x509.SubjectAlternativeName(names),
    ]
    return Certificates(
        ca=sign(issuer, authority_key, ca),
        certificate=sign(_name("skymetal cluster"), key, leaf),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def own_names() -> list[str]:
    """Return the names and addresses that this machine is reached by."""
    return list(dict.fromkeys(["localhost", "127.0.0.1", "::1", socket.gethostname()]))


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.fullmatch(host) or len(host) > 253:
            raise InputError(f"--host must be a host's name or address, got {host!r}") from None
        return x509.DNSName(host)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in allowed for use in _USES})
