from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.s3_server import BUCKET, CREDENTIALS, Proxy, faulty_proxy, s3_server

from skymetal.catalogs.storage import Folder, LocalFolder, ObjectFolder, open_folder
from skymetal.catalogs.storage.s3 import connect


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Credentials in the environment, no files of the AWS tools, and no client that another test has made."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    connect.cache_clear()
    yield monkeypatch
    connect.cache_clear()


@pytest.fixture
def objects(server: str, at: pytest.MonkeyPatch) -> ObjectFolder:
    """An empty folder in a bucket."""
    at.setenv("AWS_ENDPOINT_URL", server)
    folder = open_folder(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    assert isinstance(folder, ObjectFolder)
    return folder


@pytest.fixture
def proxy(server: str, at: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands between every folder in the bucket and the server."""
    with faulty_proxy(server) as standing:
        at.setenv("AWS_ENDPOINT_URL", standing.address)
        yield standing


@pytest.fixture(params=["local", pytest.param("objects", marks=pytest.mark.slow)])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """An empty folder on a disk, and one in a bucket: both keep the same promises."""
    if request.param == "local":
        return LocalFolder(tmp_path / "folder")
    folder: Folder = request.getfixturevalue("objects")
    return folder
