"""What the engine costs a galaxy beside the network: a pass with a trivial predictor over tiny cutouts (8 × 8).

    python benchmarks/overhead.py --json

galaxies_per_second   through read, check, rows, part, receipt and summary, on as many workers as there are cores;
                      the largest survey counts, cluster start apart
flatness              the dearest cost a galaxy over the cheapest, from --smallest to --largest galaxies; passes are
                      repeated for --seconds each, since a machine may lend more of a core in its first seconds
memory_growth         resident memory of client and scheduler (one process here) at its peak during the largest pass,
                      over that during the smallest ones
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pyarrow as pa
import trivial_predictor

from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import TargetList, write_targets
from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.engine.score import finish_score, score
from skymetal.engine.score_plan import ScorePlan
from skymetal.engine.shard import StoreLayout
from skymetal.engine.store import CutoutStore, create_store

SHARD_SIZE = 16384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smallest", type=int, default=100_000)
    parser.add_argument("--largest", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=20, help="of passes over each survey, at least one")
    parser.add_argument("--folder", type=Path, default=None, help="where 10 GB fit; left out, a temporary folder")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sizes, number = [], arguments.smallest
    while number <= arguments.largest:
        sizes.append(number)
        number *= 10
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measure(Path(folder), sizes, arguments.seconds)
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=1))


def measure(folder: Path, sizes: list[int], seconds: float) -> dict[str, Any]:
    num_workers = len(os.sched_getaffinity(0))
    cost, peak = {}, {}
    settings = ClusterSettings(kind="local-cpu", num_workers=num_workers)
    for number in sizes:
        store, targets = make_survey(folder / str(number), number, num_workers)
        # Its own cluster each: what a scheduler remembers of the pass before is not this one's.
        with LazyCluster(settings, scratch=folder / "scratch") as cluster:
            warm_up(cluster, store, targets, folder / f"{number}-warm")
            passes: list[Pass] = []
            while not passes or sum(one.seconds for one in passes) < seconds:
                passes.append(run_pass(cluster, store, targets, folder / f"{number}-parts"))
                shutil.rmtree(folder / f"{number}-parts")
        shutil.rmtree(folder / str(number))
        cost[number] = sum(one.seconds for one in passes) / len(passes) / number
        peak[number] = max(one.peak_mib for one in passes)
    return {
        "galaxies_per_second": round(1 / cost[sizes[-1]]),
        "flatness": round(max(cost.values()) / min(cost.values()), 3),
        "memory_growth": round(peak[sizes[-1]] / peak[sizes[0]], 3),
        "us_a_galaxy": {str(number): round(1e6 * each, 3) for number, each in cost.items()},
        "client_and_scheduler_mib": {str(number): round(each) for number, each in peak.items()},
        "num_workers": num_workers,
        "shard_size": SHARD_SIZE,
    }


def make_survey(folder: Path, number: int, num_workers: int) -> tuple[CutoutStore, TargetList]:
    random = np.random.default_rng(0)
    dec = np.degrees(np.arcsin(random.uniform(-1, 1, number)))
    table = pa.table({"object_id": np.arange(number), "ra": random.uniform(0, 360, number), "dec": dec})
    folder.mkdir(parents=True)
    targets = write_targets(LocalFolder(folder), "targets.parquet", table, selection={"survey": "simulated"})
    layout = StoreLayout(
        image_spec=trivial_predictor.SPEC,
        num_targets=number,
        shard_size=SHARD_SIZE,
        chunk_size=1024,
        targets_digest=targets.digest,
    )
    store = create_store(LocalFolder(folder / "store.zarr"), layout)
    with ProcessPoolExecutor(num_workers) as pool:
        list(pool.map(partial(write_shard, store, targets), range(layout.num_blocks)))
    store.finish()
    return store, targets


def write_shard(store: CutoutStore, targets: TargetList, index: int) -> None:
    start, stop = store.layout.rows(index)
    images = np.random.default_rng(index).integers(0, 200, (stop - start, 8, 8, 3), dtype=np.uint8)
    rows = pa.table(
        {
            "object_id": targets.read(start, stop)["object_id"],
            "is_stored": np.ones(stop - start, dtype=bool),
            "ingest_flags": np.zeros(stop - start, np.int32),
            "pixel_scale_arcsec": pa.nulls(stop - start, pa.float64()),
            "source": ["made"] * (stop - start),
            "reason": [""] * (stop - start),
        }
    )
    store.write_block(index, images, rows)


def make_plan(store: CutoutStore, targets: TargetList, parts: Path) -> ScorePlan:
    return ScorePlan(
        store=store,
        targets=targets,
        parts=LocalFolder(parts),
        predictor=trivial_predictor.ref(),
        reference=trivial_predictor.reference(),
        run_digest="benchmark",
    )


def warm_up(cluster: LazyCluster, store: CutoutStore, targets: TargetList, parts: Path) -> None:
    """Have every worker import what it needs."""
    plan = make_plan(store, targets, parts)
    cluster.client().run(np.random.default_rng)
    scored = score(plan, cluster.client())
    for _ in range(min(4, store.num_blocks)):
        next(scored)
    list(scored) if store.num_blocks <= 8 else scored.close()


class Pass(NamedTuple):
    seconds: float
    peak_mib: float


def run_pass(cluster: LazyCluster, store: CutoutStore, targets: TargetList, parts: Path) -> Pass:
    plan, client = make_plan(store, targets, parts), cluster.client()
    process, peak, is_over = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.1):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    for _ in score(plan, client):
        pass
    finish_score(plan)
    seconds = time.perf_counter() - begun
    is_over.set()
    watcher.join()
    return Pass(seconds=seconds, peak_mib=peak[0] / 2**20)


if __name__ == "__main__":
    main()
