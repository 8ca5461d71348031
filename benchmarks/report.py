"""The report: one pass over a catalogue, and the pictures of forty galaxies.

    python benchmarks/report.py --json

summary_seconds       the pass over --rows galaxies beside their target list, in a process of its own
summary_mebibytes     by how much its memory grew meanwhile
page_seconds          drawing the page, its pictures (8 × 8) included
page_megabytes        what the page takes
seconds_a_shard       reading one galaxy's cutout out of a shard of 2 048 of 128 × 128 pixels of noise: forty galaxies
                      of a large survey lie in forty shards
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.targets import open_targets
from skymetal.deploy.report.page import render_page
from skymetal.deploy.report.summary import CatalogueSummary, summarise
from skymetal.engine.lookup import read_cutouts_at

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.reported_run import LABEL, Made, make_run

SHARD_SIZE, NUM_SHARDS = 2048, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure_page(Path(folder) / "rows", arguments.rows) | measure_pictures(Path(folder) / "pictures")
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=1))


def measure_page(folder: Path, num_rows: int) -> dict[str, float]:
    made = Made(num_galaxies=num_rows, size_pix=8, part_rows=16384, shard_size=16384)
    facts = make_run(folder, made)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        summary, seconds, growth = pool.submit(summarise_alone, folder).result()
    start = time.perf_counter()
    page = render_page(facts, summary)
    return {
        "summary_seconds": seconds,
        "summary_mebibytes": growth,
        "page_seconds": time.perf_counter() - start,
        "page_megabytes": len(page) / 1e6,
    }


def summarise_alone(folder: Path) -> tuple[CatalogueSummary, float, float]:
    before, start = peak_mebibytes(), time.perf_counter()
    summary = summarise(open_catalog(folder), open_targets(folder / "targets.parquet"), label=LABEL)
    return summary, time.perf_counter() - start, peak_mebibytes() - before


def measure_pictures(folder: Path) -> dict[str, Any]:
    made = Made(num_galaxies=NUM_SHARDS * SHARD_SIZE, size_pix=128, shard_size=SHARD_SIZE)
    store = make_run(folder, made).store
    assert store is not None
    start = time.perf_counter()
    read_cutouts_at(store, np.arange(NUM_SHARDS) * SHARD_SIZE + 1000)
    return {"seconds_a_shard": (time.perf_counter() - start) / NUM_SHARDS}


def peak_mebibytes() -> float:
    # getrusage would give the peak of the process that started this one, where that was higher.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
