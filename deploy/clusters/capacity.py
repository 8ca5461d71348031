"""How many tasks a cluster runs at once, and how much memory it has for them."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from dataclasses import dataclass

import psutil
from distributed import Client

from skymetal.deploy.clusters.settings import ClusterSettings


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Threads of all workers, and bytes of memory of all their hosts."""

    num_threads: int
    memory_bytes: int


def capacity_here(settings: ClusterSettings) -> Capacity:
    """Return what a cluster on this machine would have, without starting it."""
    num_workers = settings.num_workers or len(os.sched_getaffinity(0))
    return Capacity(
        num_threads=num_workers * settings.threads_per_worker, memory_bytes=int(psutil.virtual_memory().total)
    )


def capacity_of(client: Client) -> Capacity:
    """Ask the workers that are there; where each of a host has a limit, the limits count, else the host's memory."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    limits_of, total_of = defaultdict(list), {}
    for address, (host, total) in client.run(_host_memory).items():
        limits_of[host].append(int(workers[address]["memory_limit"] or 0))
        total_of[host] = total
    return Capacity(
        num_threads=sum(worker["nthreads"] for worker in workers.values()),
        memory_bytes=sum(
            min(total, sum(limits_of[host])) if all(limits_of[host]) else total for host, total in total_of.items()
        ),
    )


def _host_memory() -> tuple[str, int]:
    return socket.gethostname(), int(psutil.virtual_memory().total)
