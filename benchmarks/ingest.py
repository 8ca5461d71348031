"""What ingest costs beside the bare work, and whether a galaxy costs the same in a large survey as in a small one.

    python benchmarks/ingest.py --json

over_bare_write  how fast ingest is beside a bare loop, in as many processes, that only decodes the same pictures,
                 compresses them and writes them to disk; 1 would be no overhead. Rounds alternate, the best counts.
flatness         seconds a galaxy at 10⁴, 10⁵ and 10⁶ tiny cutouts, the dearest over the cheapest; 1 is flat.

Cluster start-up is in neither: it is the same few seconds for any survey. The pictures are simulated; with
--pictures FOLDER those of a folder of JPEGs are used, each as the eight flips and rotations it has.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pyarrow as pa
import zarr
from distributed import Client, LocalCluster
from numcodecs.zstd import Zstd
from PIL import Image

from skymetal.catalogs.selection.simulated import simulate_survey
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import write_targets
from skymetal.deploy.clusters.lazy import DASK_CONFIG
from skymetal.engine.images import ImageSettings
from skymetal.engine.ingest import ingest, make_ingest_plan
from skymetal.engine.sources.simulated import SimulatedSource
from skymetal.engine.store import create_store

SIZE_PIX = 128
CHUNK_SIZE = 64
TINY_PIX = 8
TINY_SHARD = 2500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, default=8192, help="pictures for over_bare_write")
    parser.add_argument("--largest", type=int, default=1_000_000, help="the largest survey of flatness")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pictures", type=Path, help="a folder of square JPEGs instead of simulated ones")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, dask.config.set(DASK_CONFIG), start(arguments.workers) as client:
        result = compare_with_bare(Path(folder), client, arguments) | measure_flatness(Path(folder), client, arguments)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:22s} {value}")


def start(num_workers: int) -> Client:
    cluster = LocalCluster(
        n_workers=num_workers, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0", silence_logs=50
    )
    return Client(cluster)


def compare_with_bare(folder: Path, client: Client, arguments: argparse.Namespace) -> dict[str, object]:
    """Time ingest and the bare loop in turn, over the same files."""
    shard_size = max(arguments.galaxies // (4 * arguments.workers) // CHUNK_SIZE, 1) * CHUNK_SIZE
    names = draw_pictures(folder / "pictures", arguments)
    size_pix = Image.open(folder / "pictures" / names[0]).width
    settings = ImageSettings(
        source="folder",
        folder=str(folder / "pictures"),
        size_pix=size_pix,
        shard_size=shard_size,
        chunk_size=CHUNK_SIZE,
    )
    ids = pa.table({"object_id": sorted(int(name.removesuffix(".jpg")) for name in names)})
    ours, bare = [], []
    for _ in range(4):
        ours.append(time_ingest(folder / "ours", ids, settings, client))
        bare.append(time_bare(folder, names, size_pix, shard_size, arguments.workers))
    best_ours, best_bare = min(ours[1:]), min(bare[1:])  # the first round fills the page cache
    return {
        "over_bare_write": round(best_bare / best_ours, 3),
        "ingest_per_second": round(len(names) / best_ours),
        "bare_per_second": round(len(names) / best_bare),
        "num_workers": arguments.workers,
        "pictures": f"{len(names)} of {size_pix} pixels",
    }


def time_ingest(run_dir: Path, table: pa.Table, settings: ImageSettings, client: Client) -> float:
    """Ingest into a fresh run directory; return the seconds from the first task to the store's manifest."""
    shutil.rmtree(run_dir, ignore_errors=True)
    targets = write_targets(LocalFolder(run_dir), "targets.parquet", table, selection={"survey": "benchmark"})
    plan = make_ingest_plan(settings, targets=targets, run_dir=LocalFolder(run_dir), seed=0)
    plan.check()
    create_store(plan.store.folder, plan.store.layout)
    start = time.perf_counter()
    num_stored = sum(receipt.num_stored for receipt in ingest(plan, client))
    seconds = time.perf_counter() - start
    assert num_stored == table.num_rows, f"{num_stored} of {table.num_rows} stored"
    return seconds


def time_bare(folder: Path, names: list[str], size_pix: int, shard_size: int, num_processes: int) -> float:
    """Decode, compress and write the same pictures in bare processes; their start is not counted."""
    shards = [names[first : first + shard_size] for first in range(0, len(names), shard_size)]
    out = folder / "bare"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    jobs = [(folder / "pictures", shard, size_pix, out / str(index)) for index, shard in enumerate(shards)]
    with multiprocessing.get_context("spawn").Pool(num_processes) as pool:
        pool.map(time.sleep, [0.1] * num_processes)
        start = time.perf_counter()
        pool.starmap(write_bare, jobs, chunksize=1)
        return time.perf_counter() - start


def write_bare(folder: Path, names: list[str], size_pix: int, out: Path) -> None:
    images = np.empty((len(names), size_pix, size_pix, 3), np.uint8)
    for row, name in enumerate(names):
        with Image.open(io.BytesIO((folder / name).read_bytes())) as image:
            images[row] = np.asarray(image)
    codec = Zstd(level=1, checksum=True)
    with open(out, "wb") as file:
        for first in range(0, len(names), CHUNK_SIZE):
            file.write(codec.encode(images[first : first + CHUNK_SIZE]))
        file.flush()
        os.fsync(file.fileno())


def draw_pictures(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Write as many different JPEGs as asked for, or as the given pictures have flips and rotations."""
    folder.mkdir()
    names = []
    for number, pixels in zip(range(arguments.galaxies), various(arguments.pictures), strict=False):
        names.append(f"{10**18 + number}.jpg")
        Image.fromarray(pixels).save(folder / names[-1], quality=90)
    return names


def various(pictures: Path | None) -> Iterator[np.ndarray]:
    """Yield pictures that differ: the views of real ones, or simulated ones shifted on the sky."""
    if pictures is not None:
        for path in sorted(pictures.glob("*.jp*g")):
            image = np.asarray(Image.open(path).convert("RGB"))
            for turn in range(4):
                yield np.rot90(image, turn)
                yield np.rot90(image, turn)[:, ::-1]
        return
    table = simulate_survey(num_galaxies=64, seed=1)
    drawn = [cutout.pixels for cutout in SimulatedSource(size_pix=SIZE_PIX, seed=1).read(table)]
    for shift in range(SIZE_PIX**2):
        for pixels in drawn:
            if pixels is not None and pixels.any():
                yield np.roll(pixels, divmod(shift, SIZE_PIX), axis=(0, 1))


def measure_flatness(folder: Path, client: Client, arguments: argparse.Namespace) -> dict[str, object]:
    """Time ingest of tiny cutouts from a Zarr array at sizes that differ by ten."""
    sizes = [arguments.largest // 100, arguments.largest // 10, arguments.largest]
    path = folder / "tiny.zarr"
    write_tiny(path, sizes[-1])
    settings = ImageSettings(
        source="array", folder=str(path), size_pix=TINY_PIX, shard_size=TINY_SHARD, chunk_size=TINY_SHARD // 10
    )
    cost = {}
    for size, num_rounds in zip(sizes, (6, 3, 2), strict=True):
        ids = pa.table({"object_id": np.arange(size) + 10**18})
        rounds = [time_ingest(folder / "flat", ids, settings, client) for _ in range(num_rounds)]
        cost[size] = min(rounds) / size
    return {
        "flatness": round(max(cost.values()) / min(cost.values()), 3),
        "microseconds_a_galaxy": {size: round(seconds * 1e6, 1) for size, seconds in cost.items()},
    }


def write_tiny(path: Path, size: int) -> None:
    group = zarr.open_group(str(path), mode="w")
    shape = (size, TINY_PIX, TINY_PIX, 3)
    images = group.create_array("images", shape=shape, chunks=(TINY_SHARD, *shape[1:]), dtype="uint8")
    ids = group.create_array("object_id", shape=(size,), chunks=(size,), dtype="int64")
    ids[:] = np.arange(size) + 10**18
    rng = np.random.default_rng(1)
    for first in range(0, size, TINY_SHARD):
        stop = min(first + TINY_SHARD, size)
        images[first:stop] = rng.integers(0, 256, (stop - first, *shape[1:]), dtype=np.uint8)


if __name__ == "__main__":
    main()
