"""The batch script under a real Slurm: stopped before its time is up, put back, cancelled, done with the same bytes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import dask_processes, runs
from support.slurm_machine import slurm, slurm_machine, why_not

from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.jobs.cancel import cancel
from skymetal.deploy.jobs.state import DONE, RUNNING, STOPPED, WAITING
from skymetal.deploy.jobs.submission import latest_submission
from skymetal.deploy.jobs.watch import observe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]
JOB = runs.TINY_JOB.replace("num_galaxies = 192", "num_galaxies = 1600")
LONG_JOB = runs.TINY_JOB.replace("num_galaxies = 192", "num_galaxies = 20000")


@pytest.fixture(scope="module")
def machine() -> Iterator[dict[str, str]]:
    with slurm_machine() as environment:
        yield environment


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    job = runs.write_job(tmp_path_factory.mktemp("plain"), JOB)
    for step in ("select", "ingest"):
        assert runs.run(step, job).returncode == 0
    return job.parent / "run"


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def submit(machine: dict[str, str], job: Path, *arguments: str) -> str:
    command = runs.command("submit", job, "select", "ingest", "--runner", "slurm", *arguments)
    result = subprocess.run(command, env=machine, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    submission = latest_submission(LocalFolder(job.parent / "run"))
    assert submission is not None
    return submission.sent_id


def state_of(machine: dict[str, str], number: str) -> str:
    return slurm(machine, "scontrol", "show", "job", number)


def test_a_job_put_back_by_itself_and_then_by_slurm_ends_with_the_same_bytes(
    machine: dict[str, str], plain: Path, tmp_path: Path
) -> None:
    place = tmp_path / "100%j $HOME"
    tls_dir = dask_processes.write_certificates(tmp_path / "tls")
    job = runs.write_job(place, JOB + f'tls_dir = "{tls_dir}"\n')
    run_dir, receipts = LocalFolder(place / "run"), place / "run" / "store.zarr" / "receipts"
    number = submit(machine, job)

    def num_done() -> int:
        return len(list(receipts.glob("*.parquet")))

    wait_until(lambda: num_done() >= 4)
    slurm(machine, "scancel", "--batch", "--signal=USR1", number)  # as Slurm does before its time is up
    wait_until(lambda: observe([run_dir])[0].state == WAITING)
    before = num_done()
    assert 4 <= before < 100
    wait_until(lambda: num_done() >= before + 4)
    slurm(machine, "scontrol", "requeue", number)
    wait_until(lambda: observe([run_dir])[0].state == DONE)
    assert runs.contents(place / "run" / "store.zarr") == runs.contents(plain / "store.zarr")
    assert "Restarts=2" in state_of(machine, number)
    wait_until(lambda: not slurm(machine, "squeue", "--noheader"))
    assert not list((place / "run" / "logs").glob("scheduler-*.json"))


def test_slurm_tells_a_job_that_its_time_is_nearly_up_and_it_waits_in_the_queue_again(
    machine: dict[str, str], tmp_path: Path
) -> None:
    job = runs.write_job(tmp_path, LONG_JOB)
    run_dir = LocalFolder(tmp_path / "run")
    number = submit(
        machine, job, "--set", "submit.time_h=0.0167"
    )  # a minute: less than the warning, so it is due at once
    wait_until(lambda: "Restarts=1" in state_of(machine, number))
    assert observe([run_dir])[0].state in (WAITING, RUNNING)
    subprocess.run(runs.command("jobs", "cancel", job), env=machine, check=True, timeout=60)
    wait_until(lambda: not slurm(machine, "squeue", "--noheader"))
    assert observe([run_dir])[0].state == STOPPED


def test_a_job_is_cancelled_while_it_waits_and_while_it_works(machine: dict[str, str], tmp_path: Path) -> None:
    job = runs.write_job(tmp_path, LONG_JOB)
    run_dir = LocalFolder(tmp_path / "run")
    number = submit(machine, job, "--set", 'submit.options=["--hold"]')
    cancelled = subprocess.run(
        runs.command("jobs", "cancel", job), env=machine, capture_output=True, text=True, timeout=60
    )
    assert cancelled.stdout == f"{run_dir} will not begin (Slurm job {number} will not begin)\n"
    assert observe([run_dir])[0].state == STOPPED
    assert "CANCELLED" in state_of(machine, number)
    number = submit(machine, job)
    wait_until(lambda: bool(list((tmp_path / "run" / "store.zarr").glob("receipts/*"))))
    assert f"{run_dir} is told to stop" in cancel(run_dir)
    wait_until(lambda: observe([run_dir])[0].state == STOPPED)
    wait_until(lambda: not slurm(machine, "squeue", "--noheader"))
    assert "Restarts=0" in state_of(machine, number)


def test_a_job_that_slurm_ended_before_it_began_has_failed(machine: dict[str, str], tmp_path: Path) -> None:
    job = runs.write_job(tmp_path, JOB)
    number = submit(machine, job, "--set", 'submit.setup=["exit 3"]')
    wait_until(lambda: not slurm(machine, "squeue", "--noheader"))
    status = subprocess.run(
        runs.command("jobs", "status", job), env=machine, capture_output=True, text=True, timeout=60
    )
    assert "state   failed" in status.stdout
    assert f"Slurm ended job {number} before its driver began" in status.stdout


def test_what_slurm_refuses_is_told_and_not_left_waiting(machine: dict[str, str], tmp_path: Path) -> None:
    job = runs.write_job(tmp_path, JOB)
    command = runs.command("submit", job, "--runner", "slurm", "--set", "submit.partition=none")
    result = subprocess.run(command, env=machine, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "Slurm refused the job: invalid partition specified: none" in result.stderr
    status = subprocess.run(
        runs.command("jobs", "status", job), env=machine, capture_output=True, text=True, timeout=60
    )
    assert "state   failed" in status.stdout
