from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.certs import own_names, write_certificates
from skymetal.deploy.clusters.security import load_security
from skymetal.deploy.clusters.settings import ClusterSettings


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_certificates_name_their_hosts_serve_both_sides_and_are_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "tls"
    ends = write_certificates(folder, hosts=[*own_names(), "gpu01.example.org", "10.0.0.7", "fd00::1"], days=30)
    assert ends - datetime.now(UTC) == pytest.approx(timedelta(days=30), abs=timedelta(minutes=1))
    assert {path.name for path in folder.iterdir()} == {"ca.pem", "cert.pem", "key.pem"}, "the authority's key is gone"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    certificate = read(folder / "cert.pem")
    assert certificate.not_valid_after_utc == ends
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "gpu01.example.org"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "10.0.0.7", "fd00::1"} <= {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    certificate.verify_directly_issued_by(read(folder / "ca.pem"))
    assert load_security(ClusterSettings(tls_dir=str(folder))) is not None


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"already has key\.pem; nothing is overwritten"):
        write_certificates(tmp_path, hosts=["localhost"], days=1)
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "ca.pem").exists()


@pytest.mark.parametrize("host", ["", "a b", "-x", "a..b", "http://a", "a\n", "ä.org", "x" * 300, "10.0.0.300/8"])
def test_what_is_no_host_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(InputError, match="--host must be a host's name or address"):
        write_certificates(tmp_path / "tls", hosts=[host], days=1)
    assert not (tmp_path / "tls").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/tls cannot be written \(Not a directory\)"):
        write_certificates(tmp_path / "file" / "tls", hosts=["localhost"], days=1)
