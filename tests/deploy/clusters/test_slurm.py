"""Workers as Slurm jobs: on a Slurm machine of our own where Debian's packages are installed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support import brightness, dask_processes, slurm_machine

from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.security import ClusterUnusable, load_security
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.deploy.clusters.slurm import make_cluster
from skymetal.engine.blocks import map_over_blocks

pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")


def make_settings(tls_dir: Path, **changes: Any) -> ClusterSettings:
    values = {"num_workers": 2, "memory_gb": 0.9, "interface": "lo", "tls_dir": str(tls_dir)} | changes
    return ClusterSettings(kind="slurm", **values)


def test_without_sbatch_it_says_where_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(dask_processes.write_certificates(tmp_path / "tls"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with LazyCluster(settings, scratch=tmp_path) as lazy, pytest.raises(ClusterUnusable, match="on a login node"):
        lazy.client()


@pytest.mark.slow
def test_the_job_asks_for_what_the_job_file_says_and_guards_itself(tmp_path: Path) -> None:
    tls_dir = dask_processes.write_certificates(tmp_path / "tls")
    settings = make_settings(
        tls_dir,
        partition="gpu",
        account="astro",
        walltime="08:00:00",
        gpus=True,
        threads_per_worker=4,
        memory_gb=32.0,
        directives=("--gres=gpu:1",),
        setup=("module load python/3.11",),
        python="/opt/skymetal/bin/python",
    )
    with make_cluster(settings, load_security(settings), logs=tmp_path / "logs") as cluster:
        script = cluster.job_script()
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        assert cluster.dashboard_link.startswith("http://127.0.0.1:")
    for line in (
        "#SBATCH -p gpu",
        "#SBATCH -A astro",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=30G",
        "#SBATCH -t 08:00:00",
        "#SBATCH --gres=gpu:1",
        "module load python/3.11",
    ):
        assert line in script.splitlines()
    command = script.splitlines()[-1]
    assert command.startswith("/opt/skymetal/bin/python -m dask_cuda.cli tls://127.0.0.1:")
    assert f"--protocol tls:// --tls-ca-file {tls_dir}/ca.pem --tls-cert {tls_dir}/cert.pem" in command
    assert "--dashboard-address 127.0.0.1:0" in command


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(bool(slurm_machine.why_not()), reason=slurm_machine.why_not())
def test_workers_are_jobs_that_slurm_takes_or_refuses_and_are_gone_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_dir = dask_processes.write_certificates(tmp_path / "tls")
    monkeypatch.setenv("PYTHONPATH", dask_processes.ENVIRONMENT["PYTHONPATH"])
    with slurm_machine.slurm_machine() as environment:
        monkeypatch.setenv("SLURM_CONF", environment["SLURM_CONF"])
        for changes, words in (
            ({"partition": "none"}, "does not take the workers' jobs: .*[Ii]nvalid partition"),
            ({"memory_gb": 9000.0}, "does not take the workers' jobs: .*not available"),
        ):
            settings = make_settings(tls_dir, **changes)
            with (
                LazyCluster(settings, scratch=tmp_path / "scratch") as lazy,
                pytest.raises(ClusterUnusable, match=words),
            ):
                lazy.client()
        with LazyCluster(make_settings(tls_dir, num_workers=1), scratch=tmp_path / "scratch") as lazy:
            assert sorted(map_over_blocks(brightness.square, range(5), lazy.client())) == [0, 1, 4, 9, 16]
            assert "skymetal" in slurm_machine.slurm(environment, "squeue", "--noheader")
        deadline = time.monotonic() + 30
        while slurm_machine.slurm(environment, "squeue", "--noheader"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert any(name.endswith(".err") for name in os.listdir(tmp_path / "logs"))
