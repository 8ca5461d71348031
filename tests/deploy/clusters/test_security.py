from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from support.dask_processes import write_certificates

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.security import ClusterUnusable, expiry, load_security
from skymetal.deploy.clusters.settings import ClusterSettings


def load(folder: Path) -> object:
    return load_security(ClusterSettings(tls_dir=str(folder)))


def test_every_role_shows_the_same_certificate_and_wants_one(tmp_path: Path) -> None:
    security = load_security(ClusterSettings(tls_dir=str(write_certificates(tmp_path / "tls"))))
    assert security is not None
    assert security.require_encryption
    roles = [security.get_tls_config_for_role(role) for role in ("client", "scheduler", "worker")]
    assert roles[0] == roles[1] == roles[2]
    assert expiry(security) == pytest.approx(time.time() + 30 * 86400, abs=60)


def test_without_a_folder_there_is_no_tls() -> None:
    assert load_security(ClusterSettings()) is None


@pytest.mark.parametrize("name", ["ca.pem", "cert.pem", "key.pem"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    folder = write_certificates(tmp_path / "tls")
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"tls_dir .*/tls has no {name}; `skymetal cluster certs`"):
        load(folder)


def test_certificates_that_would_not_be_accepted_are_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnusable, match=r"tls is no good: it has expired; make new ones"):
        load(write_certificates(tmp_path / "expired" / "tls", begins_days=-9, ends_days=-1))
    with pytest.raises(ClusterUnusable, match=r"it is not valid yet; is this machine's clock right"):
        load(write_certificates(tmp_path / "early" / "tls", begins_days=1, ends_days=9))
    mixed, other = write_certificates(tmp_path / "mixed"), write_certificates(tmp_path / "other")
    shutil.copy(other / "ca.pem", mixed / "ca.pem")
    with pytest.raises(ClusterUnusable, match=r"another authority signed it than that of ca\.pem"):
        load(mixed)
    shutil.copy(other / "cert.pem", mixed / "cert.pem")
    with pytest.raises(ClusterUnusable, match=r"mixed cannot be used: .*(?i:mismatch)"):
        load(mixed)
    (mixed / "cert.pem").write_text("no certificate")
    with pytest.raises(ClusterUnusable, match=r"mixed cannot be used: "):
        load(mixed)
