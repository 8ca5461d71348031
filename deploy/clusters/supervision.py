"""Supervision: a worker whose nanny gave up is replaced, for as long as the cluster is there."""

from __future__ import annotations

import logging
from typing import Any

from distributed.core import Status
from tornado.ioloop import PeriodicCallback

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0


def replace_lost_workers(cluster: Any, *, every_seconds: float = LOOK_SECONDS) -> None:
    """Look after a LocalCluster's workers from now on.

    A nanny restarts its worker, but not one that died in its very first start; and Dask closes, for good, a nanny
    whose worker does not come back within seconds. After either the cluster would go on with fewer workers, or none.
    """

    def look() -> None:
        if cluster.status != Status.running:
            watch.stop()
            return
        for name, nanny in list(cluster.workers.items()):
            if nanny.status in (Status.closed, Status.failed):
                del cluster.workers[name]
        missing = set(cluster.worker_spec) - set(cluster.workers)
        if missing:
            logger.warning("%d of %d workers are lost and started again", len(missing), len(cluster.worker_spec))
            cluster.scale(len(cluster.worker_spec))  # the same number: what is missing is opened

    watch = PeriodicCallback(look, every_seconds * 1000)
    cluster.loop.add_callback(watch.start)
