"""Trains a tiny ensemble on a cluster of one worker a GPU and prints what device each rank was given, as JSON.

``python -m support.train_on_gpus FOLDER auto | address``: our own cluster, or `dask scheduler` and `dask cuda worker`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
from support import dask_processes
from support.tiny_training import tiny_plan

from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.train.ranks.asking import worker_hosts
from skymetal.train.ranks.run import train_folds
from skymetal.train.settings import TrainSettings


def watch(seen: dict[int, dict[str, str]], stop: threading.Event) -> None:
    while not stop.is_set():
        for child in psutil.Process().children(recursive=True):
            try:
                if "skymetal.train.ranks.rank" in child.cmdline():
                    seen[child.pid] = {**child.environ(), "worker": str(child.ppid())}
            except psutil.Error:
                continue
        time.sleep(0.05)


def by_address(stack: ExitStack, folder: Path) -> ClusterSettings:
    cluster = stack.enter_context(dask_processes.processes(folder, tls_dir=None))
    cluster.start_gpu_workers()
    cluster.await_workers(2)
    return ClusterSettings(kind="address", address=cluster.address)


def main() -> None:
    root, kind = Path(sys.argv[1]), sys.argv[2]
    seen: dict[int, dict[str, str]] = {}
    stop = threading.Event()
    threading.Thread(target=watch, args=(seen, stop), daemon=True).start()
    with ExitStack() as stack:
        settings = ClusterSettings(kind=kind) if kind == "auto" else by_address(stack, root / "cluster")
        cluster = stack.enter_context(LazyCluster(settings, scratch=root / "scratch"))
        client = cluster.client()
        lists = client.run(lambda: __import__("os").environ.get("CUDA_VISIBLE_DEVICES"))
        plan = tiny_plan(root, TrainSettings(num_folds=2, num_epochs=2, batch_size=16))
        epochs = sorted((report.fold, report.epoch) for report in train_folds(plan, client))
        num_workers = len(worker_hosts(client))
    stop.set()
    ranks = [
        {name: e.get(name) for name in ("CUDA_VISIBLE_DEVICES", "GLOO_SOCKET_IFNAME", "worker")} for e in seen.values()
    ]
    print(json.dumps({"num_workers": num_workers, "workers": sorted(lists.values()), "epochs": epochs, "ranks": ranks}))


if __name__ == "__main__":
    main()
