"""Slurm, from a login node: scheduler in this process, each worker a batch job that dask-jobqueue submits."""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, Security

from skymetal.catalogs.errors import InputError, first_line
from skymetal.deploy.clusters.connected import await_workers
from skymetal.deploy.clusters.local import close_cluster
from skymetal.deploy.clusters.security import ClusterUnusable, load_security
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.deploy.clusters.supervision import replace_lost_workers

logger = logging.getLogger(__name__)

_SBATCH_SECONDS = 60
_LOOPBACK = "127.0.0.1:0"


@contextmanager
def start_slurm(settings: ClusterSettings, scratch: Path) -> Iterator[Client]:
    """Submit the workers' jobs, submit those again that end, and cancel them all with the block."""
    security = load_security(settings)
    if not shutil.which("sbatch"):
        raise ClusterUnusable(
            "[cluster] kind = 'slurm' submits jobs with sbatch, and there is none here; run on a login node of the "
            "Slurm machine"
        )
    cluster = make_cluster(settings, security, logs=scratch.parent / "logs")
    try:
        _refuse_unwanted(cluster.job_script())
        logger.info("submitting %d Slurm jobs, each as this one:\n%s", settings.num_workers, cluster.job_script())
        with Client(cluster) as client:
            cluster.scale(settings.num_workers)
            if settings.max_workers > settings.num_workers:
                cluster.adapt(minimum=settings.num_workers, maximum=settings.max_workers)
            await_workers(client, 1, 60 * settings.start_timeout_min)
            replace_lost_workers(cluster)
            yield client
    finally:
        close_cluster(cluster)


def _refuse_unwanted(script: str) -> None:
    """Raise ClusterUnusable where Slurm would not take the job; Dask would only log that, and wait."""
    try:
        tried = subprocess.run(
            ["sbatch", "--test-only"],
            input=script,
            capture_output=True,
            text=True,
            timeout=_SBATCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ClusterUnusable(f"[cluster] kind = 'slurm': sbatch does not answer in {_SBATCH_SECONDS} s") from None
    if tried.returncode:
        said = (tried.stderr.strip().splitlines() or ["it does not say why"])[-1]
        raise ClusterUnusable(f"[cluster] kind = 'slurm': Slurm does not take the workers' jobs: {said}")


def make_cluster(settings: ClusterSettings, security: Security | None, *, logs: Path) -> Any:
    """Return dask-jobqueue's cluster, with a scheduler and no jobs yet."""
    try:
        from dask_jobqueue.slurm import SLURMCluster  # an optional extra: only Slurm machines have it
    except ImportError as error:
        raise InputError(
            f"[cluster] kind = 'slurm' needs dask-jobqueue ({error}); pip install 'skymetal[slurm]'"
        ) from error
    try:
        return SLURMCluster(
            cores=settings.threads_per_worker,
            processes=1,
            memory=f"{settings.memory_gb:g}GB",
            queue=settings.partition or None,
            account=settings.account or None,
            walltime=settings.walltime or None,
            interface=settings.interface or None,
            job_name="skymetal-worker",
            job_extra_directives=list(settings.directives),
            job_script_prologue=list(settings.setup),
            python=settings.python or None,
            worker_command="dask_cuda.cli" if settings.gpus else "distributed.cli.dask_worker",
            worker_extra_args=["--dashboard-address", _LOOPBACK],
            log_directory=str(logs),
            death_timeout=300,  # a worker that lost this process must not hold its node for the rest of its walltime
            scheduler_options={"dashboard_address": _LOOPBACK},
            security=security,
            protocol="tls://" if security else "tcp://",
            silence_logs=logging.ERROR,
        )
    except (ValueError, OSError, RuntimeError) as error:
        raise ClusterUnusable(
            f"[cluster] kind = 'slurm' cannot start a scheduler on {socket.gethostname()}: {first_line(error)}"
        ) from error
