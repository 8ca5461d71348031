"""The whole job with its run directory in a bucket, behind a store that fails now and then; killed, and gone on with
on a machine that knows nothing of it: the bytes of a local run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from support import runs
from support.s3_server import BUCKET, CREDENTIALS, CUT_BODY, LOSE_ANSWER, SLOW_DOWN, faulty_proxy

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.proof import prove_catalog
from skymetal.catalogs.storage import open_folder
from skymetal.catalogs.storage.s3 import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

URL = f"s3://{BUCKET}/surveys/tiny"
FAULTS = (LOSE_ANSWER, SLOW_DOWN, CUT_BODY)


def now_and_then(number: int, request: BaseHTTPRequestHandler) -> str:
    """Spoil every seventh request of a kind, each time in another way."""
    wrong = FAULTS[number // 7 % len(FAULTS)]
    return wrong if number % 7 == 3 and (wrong != CUT_BODY or request.command == "GET") else ""


@pytest.fixture(scope="module")
def finished(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of two machines that have made the run in the bucket; this process can read it too."""
    root = tmp_path_factory.mktemp("machines")
    with pytest.MonkeyPatch.context() as patch, faulty_proxy(s3) as proxy:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": proxy.address}.items():
            patch.setenv(name, value)
        proxy.fault = now_and_then
        connect.cache_clear()
        be_on_machine(root / "first", patch)
        folder = open_folder(URL)

        def is_scoring() -> bool:
            return len(folder.names("parts/receipts/*.json")) >= 3

        assert runs.kill_when(is_scoring, "run", root / "first" / "job.toml")
        assert folder.names("lease/*.json")
        assert not folder.exists("parts/manifest.json")
        be_on_machine(root / "second", patch)
        result = runs.run("run", root / "second" / "job.toml")
        assert result.returncode == 0, result.stderr
        assert len(proxy.done) > 30
        patch.setenv("AWS_ENDPOINT_URL", s3)
        connect.cache_clear()
        yield root
    connect.cache_clear()


def be_on_machine(path: Path, patch: pytest.MonkeyPatch) -> None:
    """Have a home and a folder for temporary files that are empty, and the job in a folder of its own."""
    runs.write_job(path, runs.TINY_JOB.replace('run_dir = "run"', f'run_dir = "{URL}"'))
    for name in ("HOME", "TMPDIR"):
        (path / name).mkdir()
        patch.setenv(name, str(path / name))


@pytest.mark.usefixtures("finished")
def test_every_byte_is_that_of_a_local_run(undisturbed: Path) -> None:
    there = open_folder(URL)
    folders = {name: there / name for name in ("store.zarr", "ensemble", "parts", "figures")}
    folders["catalogue"] = (there / "catalogue").resolved()
    for name, folder in folders.items():
        found = {file: hashlib.sha256(folder.read(file)).hexdigest() for file in folder.files()}
        assert found == runs.contents(undisturbed / name), name
    for name in ("targets.parquet", "quarantine.csv", "evaluation.json"):
        assert there.read(name) == (undisturbed / name).read_bytes(), name
    beside = {"evaluation.csv", "events.jsonl", "job.toml", "report.html", "score.json", "state.json"}
    assert set(there.names("*.*")) == {"evaluation.json", "quarantine.csv", "targets.parquet", *beside}
    assert there.names("logs/*.log")


def test_nothing_is_left_beside_the_job_and_no_secret_in_the_bucket(finished: Path) -> None:
    for machine in finished.iterdir():
        assert {path.name for path in machine.iterdir()} == {"job.toml", "HOME", "TMPDIR"}
    there = open_folder(URL)
    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode()
    assert not [name for name in there.files() if secret in there.read(name)]


@pytest.mark.usefixtures("finished")
def test_the_catalogue_is_read_where_it_is(undisturbed: Path) -> None:
    there, here = open_catalog(URL), open_catalog(undisturbed)
    assert there.to_arrow().equals(here.to_arrow())
    row = here.to_arrow(["ra", "dec"]).slice(5, 1).to_pylist()[0]
    near = there.cone(row["ra"], row["dec"], 3600.0)
    assert near.num_rows
    assert near.equals(here.cone(row["ra"], row["dec"], 3600.0))
    assert there.sample(5).equals(here.sample(5))
    assert not [finding for checked in prove_catalog(there) for finding in checked.findings]
    assert there.to_duckdb().count("*").fetchall() == [(there.num_rows,)]
    assert len(there.to_dask(["oh_p50"]).compute()) == there.num_rows


@pytest.mark.usefixtures("finished")
def test_the_command_line_reads_it_too_and_refuses_what_needs_a_disk() -> None:
    for arguments in (("catalog", "verify", f"{URL}/catalogue"), ("store", "info", URL)):
        result = runs.run(*arguments)
        assert result.returncode == 0, result.stderr
    for arguments, words in (
        (
            ("catalog", "sql", URL, "SELECT 1"),
            "sql, which runs in a process without network, needs files on this machine",
        ),
        (("catalog", "info", "s3://no-such/run"), "s3://no-such/run: there is no such bucket"),
    ):
        result = runs.run(*arguments)
        assert result.returncode == 2, result.stderr
        assert words in result.stderr
