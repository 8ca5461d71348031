"""Clusters: where the work runs, by the job file's ``[cluster]``."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from types import TracebackType
from typing import Any

import dask
from distributed import Client, LocalCluster

from skymetal.catalogs.errors import InputError
from skymetal.deploy.supervision import replace_lost_workers

logger = logging.getLogger(__name__)

KINDS = ("auto", "local-cpu", "local-cuda")
NUM_STARTS = 3
CLOSE_SECONDS = 30.0
_LOOPBACK = "127.0.0.1:0"

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
    # What a dying worker has to say reaches the user by its task's error, or is no news.
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """The job file's ``[cluster]``.

    ``auto`` is one worker a GPU where dask-cuda finds any, else worker processes on this machine's CPUs.
    num_workers 0 means one a device, or one a core.
    """

    kind: str = "auto"
    num_workers: int = 0
    threads_per_worker: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"[cluster] kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not 0 <= self.num_workers <= 1024:
            raise InputError(f"[cluster] num_workers must be 0 to 1024, got {self.num_workers}")
        if not 1 <= self.threads_per_worker <= 256:
            raise InputError(f"[cluster] threads_per_worker must be 1 to 256, got {self.threads_per_worker}")


class LazyCluster:
    """A cluster that starts when its client is first asked for, and is closed with the ``with`` block."""

    def __init__(self, settings: ClusterSettings, *, scratch: Path) -> None:
        self._settings = settings
        self._scratch = scratch
        self._cluster: Any = None
        self._client: Client | None = None
        self._config = dask.config.set(DASK_CONFIG)

    def client(self) -> Client:
        """Return the client, starting scheduler and workers at the first call."""
        if self._client is None:
            with _interrupts_for_us_alone():
                self._cluster = _start_with_patience(self._settings, self._scratch)
                self._client = Client(self._cluster)
            replace_lost_workers(self._cluster)
        return self._client

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
            self._client.close()
            _close(self._cluster)
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._config.__exit__(kind, error, trace)


def _close(cluster: Any) -> None:
    """Close the cluster; what does not end in time is killed: its work is committed.

    On a busy machine workers are slow to end; and a nanny whose worker was killed while it started, and once more as
    it started again, never ends by itself.
    """
    try:
        cluster.close(timeout=CLOSE_SECONDS)
    except TimeoutError:
        logger.warning("the cluster did not close in time; what is left of it is killed")
        for process in multiprocessing.active_children():
            process.kill()


@contextmanager
def _interrupts_for_us_alone() -> Iterator[None]:
    """Start threads and processes that never see Ctrl-C: they are closed in order, by us.

    A blocked signal stays blocked in what is started meanwhile, and reaches this thread when the block ends. The
    resource tracker of multiprocessing lifts the block when it starts, so it is started first.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def has_gpus(settings: ClusterSettings) -> bool:
    """Tell whether the workers of such a cluster would each have a GPU."""
    return settings.kind == "local-cuda" or (settings.kind == "auto" and _num_gpus() > 0)


def _start_with_patience(settings: ClusterSettings, scratch: Path) -> Any:
    """Start the cluster; a worker that is killed while it starts takes the whole start with it, so there are more."""
    for _ in range(NUM_STARTS - 1):
        try:
            return _start(settings, scratch)
        except RuntimeError as error:
            logger.warning("the cluster did not start, and is started again: %s", error.__cause__ or error)
    return _start(settings, scratch)


def _start(settings: ClusterSettings, scratch: Path) -> Any:
    common = {
        "threads_per_worker": settings.threads_per_worker,
        "host": "127.0.0.1",
        "dashboard_address": _LOOPBACK,  # left out, the dashboard listens on every interface
        "local_directory": str(scratch),
        "silence_logs": logging.ERROR,  # a worker that dies and is replaced is no news to the user
    }
    if has_gpus(settings):
        logger.info("starting one worker a GPU")
        return _start_cuda(settings, common)
    num_workers = settings.num_workers or len(os.sched_getaffinity(0))
    logger.info("starting %d CPU worker processes of %d threads", num_workers, settings.threads_per_worker)
    # A GPU that happens to be here is hidden: torch would put every worker on the first one.
    no_gpu = {"CUDA_VISIBLE_DEVICES": ""}
    return LocalCluster(n_workers=num_workers, processes=True, memory_limit=0, env=no_gpu, **common)


def _start_cuda(settings: ClusterSettings, common: dict[str, Any]) -> Any:
    try:
        from dask_cuda import LocalCUDACluster  # an optional extra: only machines with GPUs have it
    except ImportError as error:
        raise InputError(
            f"[cluster] kind = 'local-cuda' needs dask-cuda ({error}); "
            "pip install 'skymetal[cuda13]' (or cuda12), or set kind = 'local-cpu'"
        ) from error
    num_gpus = _num_gpus()
    if num_gpus == 0:
        raise InputError("[cluster] kind = 'local-cuda', but no GPU is visible here; set kind = 'auto' or 'local-cpu'")
    # torch's memory is not Dask's to spill.
    return LocalCUDACluster(n_workers=settings.num_workers or num_gpus, device_memory_limit=None, **common)


def _num_gpus() -> int:
    """Count GPUs without touching CUDA: the workers must be the first to do that."""
    try:
        import dask_cuda.utils
        import pynvml

        pynvml.nvmlInit()
        return int(dask_cuda.utils.get_n_gpus())
    except Exception as error:  # no package, no driver and no device each have their own kind of error
        logger.info("no GPU is used: %s", error)
        return 0
