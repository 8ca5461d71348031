"""The catalogue: publishing beside bare pyarrow, a cone search beside bare duckdb on the same files.

    python benchmarks/catalog.py --json

publish_over_pyarrow  rows a second from parts to a published, proved catalogue with margins, over those that pyarrow
                      alone writes from memory to one file, with the same codec and its fastest settings: medians of
                      three of each, in turn
cone_bytes_fraction   what opening the catalogue and one cone search read, over the bytes of its data files: the
                      dearest of the positions
cone_over_duckdb      the time of that, over that of a SELECT by duckdb over the same files (the same HEALPix range,
                      then the angle): medians
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.healpix import healpix29
from skymetal.catalogs.parts import Manifest, commit_part, write_manifest
from skymetal.catalogs.publishing.publish import CatalogSettings, publish
from skymetal.catalogs.region import cone_ranges
from skymetal.catalogs.schema import catalogue_schema
from skymetal.catalogs.storage import LocalFolder

SCHEMA = catalogue_schema(num_folds=5, has_sky=True).to_arrow()
ROWS_A_PART = 4096
NUM_TURNS = 3
NUM_CONES = 25
RADIUS_ARCSEC = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where 4 GB fit; left out, a temporary folder")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one-cone", nargs=3, metavar=("RUN", "RA", "DEC"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one_cone:
        print(bytes_of_a_cone(*arguments.one_cone))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measure(Path(folder), arguments.rows)
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=1))


def measure(folder: Path, num_rows: int) -> dict[str, Any]:
    parts = LocalFolder(folder / "parts")
    manifest = make_parts(parts, num_rows)
    publish_s: list[float] = []
    pyarrow_s: dict[str, list[float]] = {"zstd": [], "snappy": [], "lz4": []}
    for turn in range(NUM_TURNS):
        run_dir = folder / f"run-{turn}"
        publish_s.append(time_publish(parts, manifest, run_dir))
        table = open_catalog(run_dir).to_arrow()
        for codec, times in pyarrow_s.items():
            times.append(bare_write(table, folder / "bare.parquet", codec))
        del table
    files = [p for p in (run_dir / "catalogue" / "benchmark" / "dataset").rglob("part-*.parquet")]
    num_bytes = sum(p.stat().st_size for p in files)
    cones = time_cones(run_dir)
    publish_median_s = statistics.median(publish_s)
    pyarrow_medians_s = {codec: statistics.median(times) for codec, times in pyarrow_s.items()}
    return {
        "publish_over_pyarrow": round(pyarrow_medians_s["zstd"] / publish_median_s, 3),
        "cone_bytes_fraction": round(max(cones["bytes"]) / num_bytes, 5),
        "cone_over_duckdb": round(statistics.median(cones["ours"]) / statistics.median(cones["duckdb"]), 3),
        "rows": num_rows,
        "published_rows_per_second": round(num_rows / publish_median_s),
        "pyarrow_rows_per_second": {codec: round(num_rows / seconds) for codec, seconds in pyarrow_medians_s.items()},
        "cone_ms": round(1e3 * statistics.median(cones["ours"]), 2),
        "duckdb_cone_ms": round(1e3 * statistics.median(cones["duckdb"]), 2),
        "data_bytes": num_bytes,
        "num_files": len(files),
    }


def time_publish(parts: LocalFolder, manifest: Manifest, run_dir: Path) -> float:
    begun = time.perf_counter()
    deque(
        publish(
            parts=parts,
            manifest=manifest,
            schema=SCHEMA,
            run_dir=LocalFolder(run_dir),
            settings=CatalogSettings(name="benchmark"),
            provenance={"version": "benchmark"},
        ),
        maxlen=0,
    )
    return time.perf_counter() - begun


def make_parts(parts: LocalFolder, num_rows: int) -> Manifest:
    random = np.random.default_rng(0)
    ra, dec = random.uniform(0, 360, num_rows), np.degrees(np.arcsin(random.uniform(-1, 1, num_rows)))
    index = healpix29(ra, dec)
    by_sky = np.argsort(index)
    places = [by_sky[start : start + ROWS_A_PART] for start in range(0, num_rows, ROWS_A_PART)]
    sky = [(ra[place], dec[place], index[place]) for place in places]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(partial(make_part, parts), range(len(sky)), sky, chunksize=64))
    return write_manifest(parts, len(sky), run_digest="benchmark")


def make_part(parts: LocalFolder, number: int, sky: tuple[Any, Any, Any]) -> None:
    random = np.random.default_rng(number)
    num_rows = len(sky[0])
    columns: dict[str, Any] = dict(zip(("ra", "dec", "_healpix_29"), sky, strict=True))
    columns["object_id"] = 10**18 + number * ROWS_A_PART + random.permutation(num_rows)
    for field in SCHEMA:
        if field.type == pa.float32():
            columns[field.name] = random.normal(8.8, 0.2, num_rows).astype(np.float32)
    columns |= {"is_out_of_fold": random.random(num_rows) < 0.1, "flags": np.zeros(num_rows, np.int32)}
    commit_part(parts, number, pa.table(columns, schema=SCHEMA), num_quarantined=0, run_digest="benchmark")


def bare_write(table: pa.Table, file: Path, codec: str) -> float:
    file.unlink(missing_ok=True)
    begun = time.perf_counter()
    pq.write_table(table, file, compression=codec, use_dictionary=False)
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return time.perf_counter() - begun


def time_cones(run_dir: Path) -> dict[str, list[float]]:
    random = np.random.default_rng(1)
    times: dict[str, list[float]] = {"ours": [], "duckdb": [], "bytes": []}
    for _ in range(NUM_CONES):
        ra, dec = float(random.uniform(0, 360)), float(np.degrees(np.arcsin(random.uniform(-1, 1))))
        begun = time.perf_counter()
        ours = open_catalog(run_dir).cone(ra, dec, RADIUS_ARCSEC)
        between = time.perf_counter()
        theirs = duckdb_cone(run_dir, ra, dec)
        times["duckdb"].append(time.perf_counter() - between)
        times["ours"].append(between - begun)
        assert sorted(ours["object_id"].to_pylist()) == sorted(theirs["object_id"].to_pylist())
        command = [sys.executable, __file__, "--one-cone", str(run_dir), str(ra), str(dec)]
        times["bytes"].append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return times


def duckdb_cone(run_dir: Path, ra: float, dec: float) -> pa.Table:
    found = cone_ranges(ra, dec, RADIUS_ARCSEC).tolist()
    ranges = " OR ".join(f"_healpix_29 BETWEEN {start} AND {stop - 1}" for start, stop in found)
    angle = (
        f"2 * degrees(asin(sqrt(pow(sin(radians(dec - {dec!r}) / 2), 2) + cos(radians(dec)) * cos(radians({dec!r}))"
        f" * pow(sin(radians(ra - {ra!r}) / 2), 2))))"
    )
    files = f"read_parquet('{run_dir}/catalogue/benchmark/dataset/**/*.parquet', hive_partitioning = false)"
    query = f"SELECT * FROM {files} WHERE ({ranges}) AND {angle} <= {RADIUS_ARCSEC / 3600}"
    with duckdb.connect() as connection:
        return connection.sql(query).to_arrow_table()


def bytes_of_a_cone(run_dir: str, ra: str, dec: str) -> int:
    """Return the bytes that this process reads, by the kernel's count; what Python loads for a cone is in already."""
    cone_ranges(float(ra), float(dec), RADIUS_ARCSEC)
    before = read_so_far()
    open_catalog(run_dir).cone(float(ra), float(dec), RADIUS_ARCSEC)
    return read_so_far() - before


def read_so_far() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("rchar")))


if __name__ == "__main__":
    main()
