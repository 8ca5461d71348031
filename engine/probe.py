"""A short trial of a pass on a worker: how fast, how much memory. What `plan` multiplies."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

import numpy as np
import psutil

from skymetal.engine.score_plan import ScorePlan


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What one thread of a worker managed: galaxies a second, seconds to get ready, its process and its memory."""

    process: str
    galaxies_per_second: float
    start_seconds: float
    worker_bytes: int


def probe_block(plan: ScorePlan, index: int, seconds: float) -> Probe:
    """Predict as many galaxies as a shard holds, again and again, for some seconds; write nothing.

    Their images are blank: that takes as long as any others, and none is the galaxy that breaks a worker.
    """
    begun = time.perf_counter()
    predictor = plan.predictor.open()
    block = plan.store.read_block(index)
    images_NHWC, unseen_NM = np.zeros_like(block.images), predictor.unseen(block.object_id)
    at_once = max(plan.predictor.batch_size // plan.predictor.num_views, 1)
    predictor.predict(images_NHWC[:at_once], unseen_NM[:at_once])
    ready, num_done, first = time.perf_counter(), 0, 0
    while time.perf_counter() - ready < seconds:
        part = slice(first, first + at_once)
        predictor.predict(images_NHWC[part], unseen_NM[part])
        num_done += len(images_NHWC[part])
        first = first + at_once if first + at_once < len(images_NHWC) else 0
    took = max(time.perf_counter() - ready, 1e-9)
    return Probe(
        process=f"{socket.gethostname()}:{os.getpid()}",
        galaxies_per_second=num_done / took,
        start_seconds=ready - begun,
        worker_bytes=int(psutil.Process().memory_info().rss),
    )
