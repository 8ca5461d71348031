from __future__ import annotations

import psutil

from skymetal.deploy.clusters.capacity import Capacity, capacity_here
from skymetal.deploy.clusters.settings import ClusterSettings


def test_a_cluster_of_our_own_has_what_it_was_told_and_this_machines_memory() -> None:
    settings = ClusterSettings(kind="local-cpu", num_workers=3, threads_per_worker=2)
    assert capacity_here(settings) == Capacity(num_threads=6, memory_bytes=psutil.virtual_memory().total)
