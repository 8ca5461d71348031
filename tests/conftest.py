"""What every test may ask for."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.s3_server import BUCKET, CREDENTIALS, Proxy, faulty_proxy, s3_server

from skymetal.catalogs.storage import LocalFolder, ObjectFolder, open_folder
from skymetal.catalogs.storage.s3 import connect

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first: begun last, one of them would keep one process busy while the others have nothing to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real galaxies, which are not part of the project."""
    path = Path(os.environ.get("SKYMETAL_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real galaxies at {path}; SKYMETAL_TEST_DATA may name their folder")
    return path


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Credentials in the environment, no files of the AWS tools, and no client that another test has made."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    connect.cache_clear()
    yield monkeypatch
    connect.cache_clear()


@pytest.fixture
def objects(s3: str, aws: pytest.MonkeyPatch) -> ObjectFolder:
    """An empty folder in a bucket."""
    aws.setenv("AWS_ENDPOINT_URL", s3)
    folder = open_folder(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    assert isinstance(folder, ObjectFolder)
    return folder


@pytest.fixture
def proxy(s3: str, aws: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands between every folder in the bucket and the server."""
    with faulty_proxy(s3) as standing:
        aws.setenv("AWS_ENDPOINT_URL", standing.address)
        yield standing
