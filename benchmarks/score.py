"""A whole scoring pass beside the bare forward pass, and beside the two loops people write instead.

    python benchmarks/score.py --json [--pictures FOLDER]

over_forward     galaxies a second of `score` (read, check, views, networks, rows, parts, receipts; loading included,
                 the start of the cluster apart) over those of as many processes that do nothing but run the fastest
                 runtime on images that are ready; the two take turns, as a shared machine's speed changes
over_ray         over Ray Data's map_batches with as many actors and torch as it is; its start apart
over_dataloader  over a torch DataLoader, a cutout at a time from the same store, and torch as it is; its start apart

All predict the same members in the same views. With --pictures the cutouts are those JPEGs, flipped and turned until
there are enough. Ray is installed, for the time of the benchmark, into a folder of its own. `lost` says where the
workers' time went that was not the bare forward pass, in shares of the pass.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import write_targets
from skymetal.deploy.clusters.lazy import DASK_CONFIG
from skymetal.deploy.config import read_job
from skymetal.deploy.run import open_run
from skymetal.deploy.scoring import make_score_plan
from skymetal.engine.blocks import map_over_blocks
from skymetal.engine.score import ScoredPart, finish_score, score_block
from skymetal.engine.shard import StoreLayout
from skymetal.engine.store import CutoutStore, create_store, open_store

PREFIX = "distributed.nanny.pre-spawn-environ."
JOB = """
[job]
run_dir = "{run_dir}"
[targets]
survey = "simulated"
num_galaxies = 96
[images]
source = "simulated"
stretch = "asinh"
size_pix = {size_pix}
shard_size = {shard_size}
[train]
num_folds = {members}
num_epochs = 1
[score]
views = {views}
runtime = "{runtime}"
{ensemble}
"""
SHARD_SIZE = 64
WORKER_ENVIRONMENT = {
    key.removeprefix(PREFIX): str(value) for key, value in DASK_CONFIG.items() if key.startswith(PREFIX)
}
MIN_PEER_GALAXIES = 4 * peers.BATCH_SIZE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, help="left out: 4096, or two shards a worker and round")
    parser.add_argument("--peer-galaxies", type=int, default=256)
    parser.add_argument("--size-pix", type=int, default=128)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--seconds", type=float, default=20, help="of the bare forward pass, each time")
    parser.add_argument("--rounds", type=int, default=4, help="the pass is halted so often for the bare one")
    parser.add_argument("--pictures", type=Path, help="a folder of JPEGs; left out, the pixels are noise")
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.peer_galaxies < MIN_PEER_GALAXIES:
        parser.error(f"--peer-galaxies must be at least {MIN_PEER_GALAXIES}: each actor's first batch is not counted")
    least = 2 * SHARD_SIZE * len(os.sched_getaffinity(0)) * arguments.rounds
    arguments.galaxies = arguments.galaxies or max(4096, least)
    if arguments.galaxies < least:
        parser.error(f"--galaxies must be at least {least}: two shards a worker in each of --rounds {arguments.rounds}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder  # nothing is kept from an earlier benchmark
        result = measure(Path(folder), arguments)
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=1))


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    ensemble = train_something(folder, arguments)
    job = write_job(folder / "pass", arguments, ensemble=f'ensemble = "{ensemble}"')
    make_store(folder / "pass", ensemble, arguments)
    num_workers = len(os.sched_getaffinity(0))
    with open_run(read_job(job, [])) as run:
        plan = make_score_plan(run)
        work = plan.predictor.num_views * arguments.members
        peer = {"store": str(plan.store.folder), "ensemble": ensemble, "views": plan.predictor.num_views}
        peer |= {"runtime": plan.predictor.runtime, "batch_size": plan.predictor.batch_size}
        client, score = run.cluster.client(), partial(score_block, plan)
        bare = [forward_only(peer, num_workers, arguments.seconds)]
        parts: list[ScoredPart] = []
        seconds = 0.0
        for blocks in np.array_split(plan.missing_blocks(), arguments.rounds):
            begun = time.perf_counter()
            parts += map_over_blocks(score, blocks.tolist(), client)
            seconds += time.perf_counter() - begun
            bare.append(forward_only(peer, num_workers, arguments.seconds))
        begun = time.perf_counter()
        finish_score(plan)
        seconds += time.perf_counter() - begun
    ours, forward = arguments.galaxies / seconds, float(np.mean(bare)) / work
    loader = run_peer("dataloader", peer, arguments.peer_galaxies, [])
    result = {
        "over_forward": round(ours / forward, 3),
        "over_dataloader": round(ours / loader, 3),
        "lost": where_time_went(parts, seconds, arguments.galaxies / forward, num_workers),
        "seconds": round(seconds, 1),
        "galaxies_per_second": {"score": round(ours, 3), "forward": round(forward, 3), "dataloader": round(loader, 3)},
        "forward_images_per_second": [round(rate, 1) for rate in bare],
        "runtime": plan.predictor.runtime,
        "members_times_views": work,
        "galaxies": arguments.galaxies,
        "size_pix": arguments.size_pix,
        "num_workers": num_workers,
    }
    if not arguments.no_ray:
        target = folder / "ray"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-warn-script-location", "--target", str(target)]
        subprocess.run([*pip, "ray[data]"], check=True)
        ray = run_peer("ray", peer, arguments.peer_galaxies, [target])
        result["over_ray"] = round(ours / ray, 3)
        result["galaxies_per_second"]["ray"] = round(ray, 3)
    return result


def where_time_went(parts: list[ScoredPart], seconds: float, bare_seconds: float, num_workers: int) -> dict[str, float]:
    """Return shares of the pass that a worker, on average, spent otherwise than in the bare forward pass.

    idle: it had no block: before its first, between two, after its last. loading: what the first took longer than the
    others. in_blocks: the rest.
    """
    taken: dict[str, list[float]] = {}
    for part in parts:
        taken.setdefault(part.worker, []).append(part.seconds)
    idle = 1 - sum(map(sum, taken.values())) / num_workers / seconds
    loading = float(np.mean([first - np.median(others) for first, *others in taken.values() if others])) / seconds
    shares = {"idle": idle, "loading": loading, "in_blocks": 1 - bare_seconds / seconds - idle - loading}
    return {name: round(share, 4) for name, share in shares.items()}


def write_job(run_dir: Path, arguments: argparse.Namespace, *, ensemble: str = "") -> Path:
    run_dir.mkdir(parents=True)
    path = run_dir.with_suffix(".toml")
    path.write_text(
        JOB.format(
            run_dir=run_dir,
            size_pix=arguments.size_pix,
            shard_size=SHARD_SIZE,
            members=arguments.members,
            views=arguments.views,
            runtime=arguments.runtime,
            ensemble=ensemble,
        )
    )
    return path


def train_something(folder: Path, arguments: argparse.Namespace) -> str:
    """Return an ensemble: what its members have learnt makes no difference to their speed."""
    job = write_job(folder / "training", arguments)
    for verb in ("select", "ingest", "train"):
        subprocess.run([sys.executable, "-m", "skymetal", verb, str(job)], check=True, stdout=subprocess.DEVNULL)
    return str(folder / "training" / "ensemble")


def make_store(run_dir: Path, ensemble: str, arguments: argparse.Namespace) -> CutoutStore:
    """Write a run's target list and finished store."""
    number = arguments.galaxies
    spec = open_store(Path(ensemble).parent / "store.zarr").image_spec
    targets = write_targets(
        LocalFolder(run_dir), "targets.parquet", pa.table({"object_id": np.arange(10**6, 10**6 + number)}), selection={}
    )
    layout = StoreLayout(
        image_spec=spec, num_targets=number, shard_size=SHARD_SIZE, chunk_size=SHARD_SIZE, targets_digest=targets.digest
    )
    store = create_store(LocalFolder(run_dir / "store.zarr"), layout)
    pictures = load_pictures(arguments.pictures, arguments.size_pix)
    for index in range(store.num_blocks):
        start, stop = layout.rows(index)
        rows = pa.table(
            {
                "object_id": np.arange(10**6 + start, 10**6 + stop),
                "is_stored": np.ones(stop - start, dtype=bool),
                "ingest_flags": np.zeros(stop - start, np.int32),
                "pixel_scale_arcsec": pa.nulls(stop - start, pa.float64()),
                "source": ["made"] * (stop - start),
                "reason": [""] * (stop - start),
            }
        )
        images = np.stack([turned(pictures[n % len(pictures)], n // len(pictures)) for n in range(start, stop)])
        store.write_block(index, images, rows)
    store.finish()
    return store


def load_pictures(folder: Path | None, size_pix: int) -> list[NDArray[np.uint8]]:
    if folder is None:
        return list(np.random.default_rng(0).integers(0, 256, (64, size_pix, size_pix, 3), dtype=np.uint8))
    files = sorted(folder.glob("*.jpg"))[:1024]
    return [np.asarray(Image.open(file).convert("RGB").resize((size_pix, size_pix))) for file in files]


def turned(image: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    image = np.rot90(image, number % 4)
    return image[:, ::-1] if number // 4 % 2 else image


def forward_only(peer: dict[str, Any], num_processes: int, seconds: float) -> float:
    """Return images a second of processes that start together and do nothing else."""
    command = [sys.executable, str(Path(peers.__file__)), "forward", json.dumps(peer | {"seconds": seconds})]
    with tempfile.TemporaryDirectory() as folder:  # what it keeps there is not for `score` to find
        environment = dict(os.environ, OMP_NUM_THREADS="1", TMPDIR=folder) | WORKER_ENVIRONMENT
        started = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
            for _ in range(num_processes)
        ]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return sum(float(process.communicate()[0]) for process in started)


def run_peer(name: str, peer: dict[str, Any], num_galaxies: int, path: list[Path]) -> float:
    """Return galaxies a second of another way to do it."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, path)))
    command = [sys.executable, str(Path(peers.__file__)), name, json.dumps(peer | {"num_galaxies": num_galaxies})]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(result.stdout.split()[-1])


if __name__ == "__main__":
    main()
