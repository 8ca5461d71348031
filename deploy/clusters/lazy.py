"""The cluster of a run: started, or connected to, when its client is first needed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType

import dask
from distributed import Client

from skymetal.deploy.clusters.capacity import Capacity, capacity_here, capacity_of
from skymetal.deploy.clusters.connected import connect_by_address, connect_by_file
from skymetal.deploy.clusters.devices import describe_lack, devices_of_workers
from skymetal.deploy.clusters.kubernetes import start_kubernetes
from skymetal.deploy.clusters.local import is_on_gpus, start_local
from skymetal.deploy.clusters.security import ClusterUnusable
from skymetal.deploy.clusters.settings import CONNECTED, ClusterSettings
from skymetal.deploy.clusters.slurm import start_slurm
from skymetal.deploy.clusters.ssh import start_ssh
from skymetal.deploy.clusters.versions import refuse_other_versions

logger = logging.getLogger(__name__)

DASK_CONFIG = {
    # The default blames a block for the death of any three workers it happened to run on. A block that kills every
    # worker it meets still ends the pass, by name.
    "distributed.scheduler.allowed-failures": 30,
    "distributed.scheduler.no-workers-timeout": "120s",
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.comm.timeouts.connect": "60s",
    # Dask's default of 64 kB turns every activation into an mmap: 10 to 20 % slower on a CPU (measured).
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 28,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_MAX_": 0,
    # torch asks for pages of 2 MB, where the system has them for whoever asks: 3 % faster on a CPU (measured).
    "distributed.nanny.pre-spawn-environ.THP_MEM_ALLOC_ENABLE": 1,
    # What a dying worker has to say reaches the user by its task's error, or is no news.
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    # Scheduler, nannies and workers would look fifty times a second whether they are on time, and twice how the
    # machine is: 10 % of a core with two workers (measured).
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "2s",
}

_STARTS: dict[str, Callable[[ClusterSettings, Path], AbstractContextManager[Client]]] = {
    "auto": start_local,
    "local-cpu": start_local,
    "local-cuda": start_local,
    "address": connect_by_address,
    "scheduler-file": connect_by_file,
    "slurm": start_slurm,
    "kubernetes": start_kubernetes,
    "ssh": start_ssh,
}


class LazyCluster:
    """A cluster that starts when its client is first asked for, and is closed with the ``with`` block.

    One that somebody else started is left as it is.
    """

    def __init__(self, settings: ClusterSettings, *, scratch: Path) -> None:
        self._settings = settings
        self._scratch = scratch
        self._client: Client | None = None
        self._is_fit = False
        self._has_gpus: bool | None = None
        self._open = ExitStack()
        self._open.enter_context(dask.config.set(DASK_CONFIG))
        if not settings.is_local:
            # A batch system may take long to give a worker back.
            patience = f"{max(120, round(60 * settings.start_timeout_min))}s"
            self._open.enter_context(dask.config.set({"distributed.scheduler.no-workers-timeout": patience}))

    def client(self) -> Client:
        """Return the client, starting or connecting at the first call.

        Raises InputError or ClusterUnusable, in one sentence, where there is no such cluster to be had, or its
        processes have another skymetal or not the GPUs that were asked for.
        """
        client = self.reach()
        if not self._is_fit:
            if not self._settings.is_local:
                refuse_other_versions(client)
                self._refuse_missing_gpus(client)
            self._is_fit = True
        return client

    def reach(self) -> Client:
        """Return the client of what is there, fit for the work or not."""
        if self._client is None:
            start = _STARTS[self._settings.kind]
            self._client = self._open.enter_context(start(self._settings, self._scratch))
        return self._client

    def _refuse_missing_gpus(self, client: Client) -> None:
        lack = describe_lack(devices_of_workers(client)) if self._settings.gpus else ""
        if lack:
            raise ClusterUnusable(f"[cluster] gpus = true, but {lack}")

    def capacity(self) -> Capacity:
        """Return what the cluster has, or, of one on this machine, would have."""
        return capacity_here(self._settings) if self._settings.is_local else capacity_of(self.client())

    def all_workers(self, ask: Callable[[], bool]) -> bool:
        """Tell whether every worker that is there says yes, or, of a cluster on this machine, this process."""
        if self._settings.is_local:
            return ask()
        answers = self.client().run(ask)
        return bool(answers) and all(answers.values())

    def has_gpus(self) -> bool:
        """Tell whether each worker has, or would have, a GPU; a cluster of somebody else's is asked."""
        if self._has_gpus is None:
            if self._settings.is_local:
                self._has_gpus = is_on_gpus(self._settings)
            elif self._settings.kind in CONNECTED and not self._settings.gpus:
                lack = describe_lack(devices_of_workers(self.client()))
                logger.info("the workers have %s", f"no GPUs to count on: {lack}" if lack else "a GPU each")
                self._has_gpus = not lack
            else:
                self._has_gpus = self._settings.gpus
        return self._has_gpus

    def __enter__(self) -> LazyCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            # What a cluster says while it is being closed is no news to the user: its own words, and those of the
            # loops that its connections are cut under.
            for name in ("distributed", "tornado.application", "asyncio"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        self._open.__exit__(kind, error, trace)
