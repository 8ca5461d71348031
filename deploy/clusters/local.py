"""Clusters on this machine: ``local-cpu``, ``local-cuda``, and ``auto``, which is one of the two."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.security import load_security
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.deploy.clusters.supervision import replace_lost_workers

logger = logging.getLogger(__name__)

NUM_STARTS = 3
CLOSE_SECONDS = 30.0
_LOOPBACK = "127.0.0.1:0"


@contextmanager
def start_local(settings: ClusterSettings, scratch: Path) -> Iterator[Client]:
    """Start scheduler and workers here, replace the workers that are lost, and close all with the block."""
    security = load_security(settings)
    with _interrupts_for_us_alone():
        cluster = _start_with_patience(settings, scratch, security)
        client = Client(cluster)
    replace_lost_workers(cluster)
    try:
        yield client
    finally:
        client.close()
        close_cluster(cluster)
        shutil.rmtree(scratch, ignore_errors=True)


def close_cluster(cluster: Any) -> None:
    """Close a cluster that we started; what does not end in time is killed: its work is committed.

    On a busy machine workers are slow to end; and a nanny whose worker was killed while it started, and once more as
    it started again, never ends by itself.
    """
    try:
        cluster.close(timeout=CLOSE_SECONDS)
    except TimeoutError:
        logger.warning("the cluster did not close in time; what is left of it is killed")
        for process in multiprocessing.active_children():
            process.kill()


def is_on_gpus(settings: ClusterSettings) -> bool:
    """Tell whether each worker of such a cluster would have a GPU."""
    return settings.kind == "local-cuda" or (settings.kind == "auto" and _num_gpus() > 0)


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


def _start_with_patience(settings: ClusterSettings, scratch: Path, security: Any) -> Any:
    """Start the cluster; a worker that is killed while it starts takes the whole start with it, so there are more."""
    for _ in range(NUM_STARTS - 1):
        try:
            return _start(settings, scratch, security)
        except RuntimeError as error:
            logger.warning("the cluster did not start, and is started again: %s", error.__cause__ or error)
    return _start(settings, scratch, security)


def _start(settings: ClusterSettings, scratch: Path, security: Any) -> Any:
    common = {
        "threads_per_worker": settings.threads_per_worker,
        "host": "127.0.0.1",
        "dashboard_address": _LOOPBACK,  # left out, the dashboard listens on every interface
        "local_directory": str(scratch),
        "silence_logs": logging.ERROR,  # a worker that dies and is replaced is no news to the user
    }
    if security is not None:
        common |= {"security": security, "protocol": "tls://"}
    if is_on_gpus(settings):
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
