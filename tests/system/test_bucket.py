"""The whole job with its run directory in a bucket: the bytes of a local run, also when it is killed and goes on
elsewhere, and when the store fails now and then."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import runs
from support.s3_server import BUCKET, CREDENTIALS, CUT_BODY, LOSE_ANSWER, SLOW_DOWN, faulty_proxy, s3_server

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.proof import prove_catalog
from skymetal.catalogs.storage import Folder, open_folder
from skymetal.catalogs.storage.s3 import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def url(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A place in the bucket, for this process and those that it starts."""
    (tmp_path / "home").mkdir()
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": server, "HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "home"))
    connect.cache_clear()
    yield f"s3://{BUCKET}/{uuid.uuid4().hex}"
    connect.cache_clear()


def write_job(path: Path, url: str) -> Path:
    return runs.write_job(path, runs.TINY_JOB.replace('run_dir = "run"', f'run_dir = "{url}"'))


def contents(folder: Folder) -> dict[str, str]:
    return {name: hashlib.sha256(folder.read(name)).hexdigest() for name in folder.files()}


def check_as_local(url: str, undisturbed: Path) -> None:
    there = open_folder(url)
    assert contents((there / "catalogue").resolved()) == runs.contents(undisturbed / "catalogue")
    for name in ("store.zarr", "ensemble", "parts", "figures"):
        assert contents(there / name) == runs.contents(undisturbed / name), name
    for name in ("targets.parquet", "quarantine.csv", "evaluation.json"):
        assert there.read(name) == (undisturbed / name).read_bytes(), name
    assert there.exists("report.html")
    assert there.exists("events.jsonl")
    assert not there.exists(".lease.json")
    assert there.names("logs/*.log")


def test_a_job_in_a_bucket_gives_the_bytes_of_a_local_one_and_is_read_there(
    undisturbed: Path, url: str, tmp_path: Path
) -> None:
    job = write_job(tmp_path / "job", url)
    result = runs.run("run", job)
    assert result.returncode == 0, result.stderr
    check_as_local(url, undisturbed)
    for path in (tmp_path / "job").rglob("*"):
        assert path.name == "job.toml", "something was left beside the job"
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode() not in b"".join(
        open_folder(url).read(name) for name in open_folder(url).files()
    )
    there, here = open_catalog(url), open_catalog(undisturbed)
    assert there.to_arrow().equals(here.to_arrow())
    row = here.to_arrow(["ra", "dec"]).slice(5, 1).to_pylist()[0]
    near = there.cone(row["ra"], row["dec"], 3600.0)
    assert near.num_rows
    assert near.equals(here.cone(row["ra"], row["dec"], 3600.0))
    assert not [finding for checked in prove_catalog(there) for finding in checked.findings]
    assert there.to_duckdb().count("*").fetchall() == [(there.num_rows,)]
    assert len(there.to_dask(["oh_p50"]).compute()) == there.num_rows
    refused = runs.run("catalog", "sql", url, "SELECT 1")
    assert refused.returncode == 2
    assert "sql, which runs in a process without network, needs files on this machine" in refused.stderr
    again = runs.run("run", job)
    assert again.returncode == 0, again.stderr
    check_as_local(url, undisturbed)


def test_a_job_killed_in_mid_score_goes_on_on_a_machine_that_knows_nothing_of_it(
    undisturbed: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_folder(url)

    def is_scoring() -> bool:
        return len(folder.names("parts/receipts/*.json")) >= 3

    assert runs.kill_when(is_scoring, "run", write_job(tmp_path / "first", url))
    assert folder.exists(".lease.json")
    assert not folder.exists("manifest.json")
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    result = runs.run("run", write_job(tmp_path / "second", url))
    assert result.returncode == 0, result.stderr
    check_as_local(url, undisturbed)


def test_two_jobs_cannot_have_one_run_directory(url: str, tmp_path: Path) -> None:
    job = write_job(tmp_path, url)
    open_folder(url).write(".lease.json", b'{"pid": 1, "host": "elsewhere", "machine": "another"}')
    result = runs.run("select", job)
    assert result.returncode == 2
    assert "another skymetal (process 1 on elsewhere) is at work in s3://" in result.stderr


def test_a_store_that_fails_now_and_then_costs_no_byte(
    undisturbed: Path, url: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(number: int, request: object) -> str:
        word = [LOSE_ANSWER, SLOW_DOWN, CUT_BODY][number // 7 % 3]
        method = getattr(request, "command", "")
        is_sensible = word != CUT_BODY or method == "GET"
        return word if number % 7 == 3 and is_sensible else ""

    with faulty_proxy(server) as proxy:
        proxy.fault = fault
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        result = runs.run("run", write_job(tmp_path, url))
        assert result.returncode == 0, result.stderr
        assert len(proxy.done) > 30
    check_as_local(url, undisturbed)
