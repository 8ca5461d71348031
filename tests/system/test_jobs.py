"""Jobs that go on without whoever sent them: real processes, killed, frozen and raced; the bytes are a plain run's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support import dask_processes, runs

from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.jobs.cancel import cancel
from skymetal.deploy.jobs.state import DONE
from skymetal.deploy.jobs.watch import LOST, View, observe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

# Three hundred shards: time to be told to stop, also on a fast machine.
JOB = runs.TINY_JOB.replace("num_galaxies = 192", "num_galaxies = 4800")
STEPS = ("select", "ingest")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a job that a person ran, undisturbed, as far as ingest."""
    job = runs.write_job(tmp_path_factory.mktemp("plain"), JOB)
    for step in STEPS:
        result = runs.run(step, job)
        assert result.returncode == 0, result.stderr
    return job.parent / "run"


def wait_until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def num_shards(run_dir: Path) -> int:
    return len(list(run_dir.glob("store.zarr/receipts/*.parquet")))


def view(run_dir: Path) -> View:
    return observe([LocalFolder(run_dir)])[0]


def jobs(verb: str, job: Path, *options: str) -> str:
    result = runs.run("jobs", verb, *options, job)
    assert result.returncode == 0, result.stderr
    return result.stdout


def family(run_dir: Path) -> list[psutil.Process]:
    """The driver at work in a run directory, and its children."""
    written = view(run_dir).written
    assert written is not None
    driver = psutil.Process(written.pid)
    return [driver, *driver.children(recursive=True)]


def test_a_job_outlives_its_shell_is_watched_cancelled_and_resumed(plain: Path, tmp_path: Path) -> None:
    job, run_dir = runs.write_job(tmp_path, JOB), tmp_path / "run"
    shell = f"{sys.executable} -m skymetal submit {job} {' '.join(STEPS)}; sleep 60"
    with subprocess.Popen(["bash", "-c", shell], stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("submitted to local as ")
        os.killpg(process.pid, signal.SIGHUP)  # the terminal is closed
    wait_until(lambda: num_shards(run_dir) >= 2)
    everybody = family(run_dir)
    assert (
        cancel(LocalFolder(run_dir)) == f"{run_dir} is told to stop: process {everybody[0].pid} does so within seconds"
    )
    assert runs.run("jobs", "wait", job, "--timeout", "60").returncode == 1
    assert "state   stopped\nreason  cancelled" in jobs("status", job)
    _, alive = psutil.wait_procs(everybody, timeout=20)
    assert alive == []
    assert num_shards(run_dir) < 300
    jobs("resume", run_dir)
    assert jobs("wait", job, "--timeout", "120") == "done\n"
    assert "ingest: 4800 targets" in jobs("logs", job)
    assert runs.contents(run_dir / "store.zarr") == runs.contents(plain / "store.zarr")
    assert not list(run_dir.rglob(".writing-*"))


def test_a_driver_killed_leaves_a_lost_job_that_goes_on_when_resumed(plain: Path, tmp_path: Path) -> None:
    job, run_dir = runs.write_job(tmp_path, JOB), tmp_path / "run"
    assert runs.run("submit", job, *STEPS).returncode == 0
    wait_until(lambda: num_shards(run_dir) >= 2)
    driver, *others = family(run_dir)
    driver.kill()
    wait_until(lambda: view(run_dir).state == LOST)
    psutil.wait_procs(others, timeout=20)
    assert "is gone without a word, so there is nothing to stop" in cancel(LocalFolder(run_dir))
    jobs("resume", job)
    assert jobs("wait", job, "--timeout", "120") == "done\n"
    assert runs.contents(run_dir / "store.zarr") == runs.contents(plain / "store.zarr")


def test_of_two_who_submit_at_once_one_wins(tmp_path: Path) -> None:
    job = runs.write_job(tmp_path, JOB)
    command = runs.command("submit", job, "select")
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    assert any(word in "".join(errors) for word in ("at this very moment", "waiting", "running"))
    assert jobs("wait", job, "--timeout", "60") == "done\n"
    assert len(list((tmp_path / "run" / "submissions").iterdir())) == 1


ON_ANOTHER_HOST = """
import sys
from skymetal.deploy.jobs import sightings
sightings.STALE_SECONDS, sightings.RENEW_SECONDS = 2.0, 0.2
from skymetal.__main__ import main
main()
"""


def on_host(name: str, *arguments: str | Path) -> list[str]:
    shell = f'hostname {name} && exec {sys.executable} -c "$CODE" "$@"'
    return ["env", f"CODE={ON_ANOTHER_HOST}", "unshare", "--uts", "bash", "-c", shell, name, *map(str, arguments)]


def can_rename_the_host() -> bool:
    return shutil.which("unshare") is not None and os.geteuid() == 0


@pytest.mark.skipif(not can_rename_the_host(), reason="another host name takes root and unshare")
def test_a_driver_frozen_until_another_host_took_over_stops_itself_when_it_wakes(plain: Path, tmp_path: Path) -> None:
    job, run_dir = runs.write_job(tmp_path, JOB), tmp_path / "run"
    assert runs.run("select", job).returncode == 0
    frozen = subprocess.Popen(on_host("one", "ingest", job), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: num_shards(run_dir) >= 2)
    everybody = family(run_dir)
    frozen.send_signal(signal.SIGSTOP)
    (run_dir / ".lock").unlink()  # as on a file system that does not honour it
    second = subprocess.run(on_host("two", "ingest", job), capture_output=True, text=True, timeout=120, check=False)
    assert second.returncode == 0, second.stderr
    assert f"process {frozen.pid} on one was at work in {run_dir}" in second.stdout
    kept = {name: (run_dir / name).read_bytes() for name in ("state.json", "events.jsonl", "job.toml")}
    frozen.send_signal(signal.SIGCONT)
    _, errors = frozen.communicate(timeout=60)
    assert frozen.returncode == 1
    assert f"on two) has taken {run_dir} over, as this one gave no sign of life" in errors
    assert {name: (run_dir / name).read_bytes() for name in kept} == kept
    _, alive = psutil.wait_procs(everybody, timeout=20)
    assert alive == []
    assert view(run_dir).state == DONE
    assert runs.contents(run_dir / "store.zarr") == runs.contents(plain / "store.zarr")


def test_a_job_on_a_guarded_cluster_needs_nobody_who_waits_for_it(undisturbed: Path, tmp_path: Path) -> None:
    """Submitted, the client gone, cancelled, resumed; then the worker beside its driver is killed."""
    tls_dir = dask_processes.write_certificates(tmp_path / "tls")
    with dask_processes.processes(tmp_path / "cluster", tls_dir=tls_dir) as cluster:
        for _ in range(2):
            cluster.start_worker()
        hosts = [cluster.start_worker(resources="JOB=1") for _ in range(2)]
        cluster.await_workers(4)
        section = f'[cluster]\nkind = "address"\naddress = "{cluster.address}"\ntls_dir = "{tls_dir}"\n'
        job, run_dir = runs.write_job(tmp_path, runs.TINY_JOB.partition("[cluster]")[0] + section), tmp_path / "run"
        sent = runs.run("submit", job, *STEPS, "train", "score", "publish", "--runner", "dask")
        assert sent.returncode == 0, sent.stderr
        wait_until(lambda: num_shards(run_dir) >= 2)
        driver = family(run_dir)[0]
        cancel(LocalFolder(run_dir))
        assert runs.run("jobs", "wait", job, "--timeout", "60").returncode == 1
        assert "state   stopped\nreason  cancelled\nsent    to dask from" in jobs("status", job)
        psutil.wait_procs([driver], timeout=20)
        assert not driver.is_running()
        jobs("resume", job)
        wait_until(lambda: bool(list(run_dir.glob("checkpoints/fold*"))))
        driver = family(run_dir)[0]
        beside = next(host for host in hosts if host.pid == driver.ppid())
        beside.kill()
        assert jobs("wait", job, "--timeout", "200") == "done\n", jobs("logs", job)
        written = view(run_dir).written
        assert written is not None
        assert written.pid != driver.pid
    assert runs.contents(run_dir / "catalogue") == runs.contents(undisturbed / "catalogue")
