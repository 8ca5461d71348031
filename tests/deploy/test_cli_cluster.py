"""`skymetal cluster`: certificates, and a check that finds what would spoil a night; real processes over TLS."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from distributed import Client
from support import dask_processes
from support.dask_processes import Processes

from skymetal.deploy.cli import main

JOB = """
[job]
run_dir = "run"
[targets]
survey = "simulated"
num_galaxies = 40
[images]
source = "simulated"
[cluster]
kind = "address"
address = "{address}"
tls_dir = "{tls_dir}"
start_timeout_min = 0.5
"""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["cluster", *map(str, arguments)])


def test_certs_says_what_to_copy_and_how_to_start(tmp_path: Path) -> None:
    done = call("certs", tmp_path / "tls", "--host", "gpu01", "--days", "7")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "tls").iterdir()} == {"ca.pem", "cert.pem", "key.pem"}
    assert f'tls_dir = "{tmp_path}/tls"' in done.output
    assert done.output.count(f"--tls-key {tmp_path}/tls/key.pem --dashboard-address 127.0.0.1:") == 3
    again = call("certs", tmp_path / "tls")
    assert again.exit_code == 2
    assert "nothing is overwritten" in again.output
    assert call("certs", tmp_path / "other", "--host", "no host").exit_code == 2


def test_a_job_that_cannot_be_read_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(JOB.format(address="tcp://10.0.0.7:8786", tls_dir=""))
    refused = call("check", tmp_path / "job.toml")
    assert refused.exit_code == 2
    assert "whoever reaches that port can run code there" in refused.output


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_commands_that_certs_prints_start_a_cluster_that_check_finds_good(tmp_path: Path) -> None:
    printed = call("certs", tmp_path / "tls").output
    scheduler, worker = (re.search(rf"^{who}: +dask (.*)$", printed, re.M) for who in ("Scheduler", "Workers"))
    assert scheduler
    assert worker
    file = tmp_path / "scheduler.json"
    # Other ports, as others may use those here; and loopback.
    ours = scheduler[1].replace("8786", "0").replace(":8787", ":0") + f" --host 127.0.0.1 --scheduler-file {file}"
    with open(tmp_path / "log", "wb") as log:
        started = [start(ours, log=log)]
        try:
            address = await_address(file)
            started.append(start(worker[1].replace("tls://HOST:8786", address), log=log))
            (tmp_path / "job.toml").write_text(JOB.format(address=address, tls_dir=tmp_path / "tls"))
            done = call("check", tmp_path / "job.toml")
        finally:
            for process in started:
                for each in dask_processes.family(process.pid):
                    each.kill()
                process.wait(timeout=20)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1].startswith("cluster check: good: 1 worker on 1 host, ")


def start(arguments: str, *, log: object) -> subprocess.Popen[bytes]:
    environment = os.environ | dask_processes.ENVIRONMENT
    command = [sys.executable, "-m", "dask", *shlex.split(arguments)]
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment)  # type: ignore[call-overload, no-any-return]


def await_address(file: Path) -> str:
    deadline = time.monotonic() + 60
    while True:
        found = re.search(r'"address": "(tls://[^"]+)"', file.read_text()) if file.exists() else None
        if found:
            return found[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    tls_dir = dask_processes.write_certificates(tmp_path_factory.mktemp("tls") / "tls")
    with dask_processes.processes(tmp_path_factory.mktemp("guarded"), tls_dir=tls_dir, num_workers=1) as started:
        yield started


@pytest.fixture
def job(guarded: Processes, tmp_path: Path) -> Path:
    (tmp_path / "job.toml").write_text(JOB.format(address=guarded.address, tls_dir=guarded.tls_dir))
    return tmp_path / "job.toml"


@contextmanager
def another_worker(
    guarded: Processes, *, env: Mapping[str, str] | None = None, wrapped: Sequence[str] = ()
) -> Iterator[None]:
    worker = guarded.start_worker(env=env, wrapped=wrapped)
    try:
        guarded.await_workers(2)
        yield
    finally:
        worker.kill()
        worker.wait(timeout=20)
    assert guarded.tls_dir
    with Client(guarded.address, security=dask_processes.security(guarded.tls_dir), timeout=30) as client:
        deadline = time.monotonic() + 20
        while len(client.scheduler_info()["workers"]) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def bad(done: Result) -> str:
    """Return the one thing that a check found, after which it must exit 1."""
    assert done.exit_code == 1, done.output
    *_, verdict = lines = done.output.splitlines()
    assert verdict.startswith("cluster check: bad: ")
    found, *more = [line for line in lines if line.startswith("bad: ")]
    assert more == []
    return found


@pytest.mark.slow
def test_a_good_cluster_is_good_and_nothing_is_left_in_the_run_directory(job: Path) -> None:
    done = call("check", job)
    assert done.exit_code == 0, done.output
    *_, first, second, verdict = done.output.splitlines()
    assert verdict == "cluster check: good: 1 worker on 1 host, 1 thread, no GPUs"
    assert first.startswith("note: the scheduler has allowed-failures 3: ")
    assert second.startswith("note: the scheduler waits 300 s for a frozen worker (worker-ttl)")
    assert list((job.parent / "run").iterdir()) == []


@pytest.mark.slow
def test_check_finds_mixed_versions_and_a_run_refuses_them(guarded: Processes, job: Path, tmp_path: Path) -> None:
    shim = tmp_path / "shim"
    (shim / "skymetal-0.0.9.dist-info").mkdir(parents=True)
    (shim / "skymetal-0.0.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: skymetal\nVersion: 0.0.9\n"
    )
    path = os.pathsep.join([str(shim), dask_processes.ENVIRONMENT["PYTHONPATH"]])
    with another_worker(guarded, env={"PYTHONPATH": path}):
        assert re.match(r"bad: skymetal is 0\.1\.0 on this machine, 0\.0\.9 on tls://", bad(call("check", job)))
        refused = CliRunner().invoke(main, ["run", str(job), "--set", "train.num_folds=2"])
        assert refused.exit_code == 1, refused.output
        assert re.search(r"the cluster cannot be used: skymetal is 0\.1\.0 .*, 0\.0\.9 on tls://", refused.output)


@pytest.mark.slow
def test_check_finds_a_worker_that_does_not_see_the_run_directory(guarded: Processes, job: Path) -> None:
    hide = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {job.parent} && exec "$@"', "sh"]
    if subprocess.run([*hide, "true"], capture_output=True, check=False, timeout=20).returncode:
        pytest.skip("a disk cannot be hidden from one process here: that takes root")
    with another_worker(guarded, wrapped=hide):
        found = bad(call("check", job))
        assert re.match(r"bad: tls://\S+ cannot use the run directory .*run: what the client wrote there is not", found)


@pytest.mark.slow
def test_check_finds_a_full_disk(job: Path) -> None:
    run_dir = job.parent / "run"
    run_dir.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(run_dir)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True, timeout=20).returncode:
        pytest.skip("no small disk can be mounted here: that takes root")
    try:
        assert bad(call("check", job)).startswith(
            f"bad: the disk of the run directory {run_dir} is full: 0 MB are free"
        )
    finally:
        subprocess.run(["umount", "--lazy", str(run_dir)], check=True, timeout=20)


@pytest.mark.slow
def test_check_finds_that_there_is_no_device(job: Path) -> None:
    done = call("check", job, "--set", "cluster.gpus=true")
    assert bad(done).startswith("bad: GPUs are asked for, but 1 of 1 workers have no GPU, the first is tls://")


@pytest.mark.slow
def test_check_finds_a_wrong_certificate(job: Path, tmp_path: Path) -> None:
    other = dask_processes.write_certificates(tmp_path / "other")
    done = call("check", job, "--set", f"cluster.tls_dir={other}")
    assert "its certificate is not accepted: another authority signed it than that of ca.pem" in bad(done)
    old = dask_processes.write_certificates(tmp_path / "old", begins_days=-9, ends_days=-1)
    done = call("check", job, "--set", f"cluster.tls_dir={old}")
    assert "the certificate in" in bad(done)
    assert "it has expired; make new ones with `skymetal cluster certs`" in done.output


@pytest.mark.slow
def test_a_cluster_of_our_own_is_checked_too(job: Path) -> None:
    done = call("check", job, *("--set", "cluster.kind=local-cpu"), *("--set", "cluster.address="))
    assert done.exit_code == 2, "start_timeout_min is for others"
    text = job.read_text().partition("[cluster]")[0] + '[cluster]\nkind = "local-cpu"\nnum_workers = 1\n'
    job.write_text(text)
    done = call("check", job)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "cluster check: good: 1 worker on 1 host, 1 thread, no GPUs"
    assert "note:" not in done.output
    assert list((job.parent / "run").iterdir()) == []
