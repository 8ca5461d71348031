"""Hosts that are reached by SSH: scheduler on the first, a worker on each of the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Security, SpecCluster
from distributed.deploy import ssh

from skymetal.catalogs.errors import InputError, first_line
from skymetal.deploy.clusters.local import close_cluster
from skymetal.deploy.clusters.security import ClusterUnusable, load_security
from skymetal.deploy.clusters.settings import ClusterSettings

logger = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1:0"


@contextmanager
def start_ssh(settings: ClusterSettings, scratch: Path) -> Iterator[Client]:
    """Start scheduler and workers by SSH, with the keys and known hosts of ~/.ssh, and end them with the block."""
    security = load_security(settings)
    if find_spec("asyncssh") is None:
        raise InputError("[cluster] kind = 'ssh' needs asyncssh; pip install 'skymetal[ssh]'")
    with dask.config.set(remote_config(security)):  # dask hands its configuration on to the processes it starts
        cluster = _start(settings, security)
        try:
            with Client(cluster) as client:
                yield client
        finally:
            close_cluster(cluster)


def remote_config(security: Security | None) -> Mapping[str, Any]:
    """Return what processes elsewhere are told: where their certificates are, under the same paths as here."""
    # The line by which a worker says that it is there is how Dask knows.
    config: dict[str, Any] = {"distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "info"}
    if security is not None:
        own = security.get_tls_config_for_role("scheduler")  # each role has the same
        certificate = {"cert": own["cert"], "key": own["key"]}
        config |= {
            "distributed.comm.require-encryption": True,
            "distributed.comm.tls.ca-file": own["ca_file"],
            "distributed.comm.tls.scheduler": certificate,
            "distributed.comm.tls.worker": certificate,
        }
    return config


class _Scheduler(ssh.Scheduler):
    """Dask's own, but it is not waited for without end."""

    async def start(self) -> None:
        await asyncio.wait_for(super().start(), self.connect_options["connect_timeout"])  # type: ignore[no-untyped-call]


class _Worker(ssh.Worker):
    """Dask's own, but it is not waited for without end."""

    async def start(self) -> None:
        await asyncio.wait_for(super().start(), self.connect_options["connect_timeout"])  # type: ignore[no-untyped-call]


def _start(settings: ClusterSettings, security: Security | None) -> Any:
    logger.info("starting a scheduler on %s and workers on %s", settings.hosts[0], ", ".join(settings.hosts[1:]))
    common = {"protocol": "tls://" if security else "tcp://", "dashboard_address": _LOOPBACK}
    worker = {**common, "nthreads": settings.threads_per_worker, "memory_limit": 0}
    reach = {
        "connect_options": {"connect_timeout": 60 * settings.start_timeout_min},
        "remote_python": settings.python or None,
    }
    kind = {"worker_class": "dask_cuda.CUDAWorker" if settings.gpus else "distributed.Nanny"}
    try:
        return SpecCluster(  # as SSHCluster makes it
            workers={
                number: {"cls": _Worker, "options": {"address": host, "kwargs": worker, **reach, **kind}}
                for number, host in enumerate(settings.hosts[1:])
            },
            scheduler={"cls": _Scheduler, "options": {"address": settings.hosts[0], "kwargs": common, **reach}},
            security=security,
            silence_logs=logging.ERROR,
        )
    except Exception as error:  # asyncssh, Dask and the operating system each have their own kinds
        cause = error.__cause__ or error
        raise ClusterUnusable(
            f"[cluster] kind = 'ssh' cannot start scheduler and workers on {', '.join(dict.fromkeys(settings.hosts))}: "
            f"{type(cause).__name__}: {first_line(cause)}; can you ssh there without a password, and is "
            f"{settings.python or 'this Python, with skymetal,'} there?"
        ) from error
