"""A survey's cutout service on a bad day: two thousand galaxies, four workers, killed twice."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support import runs
from support.cutout_server import FAULTS, QUARANTINED, Request, fate, read_log, start_server

from skymetal.engine.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NUM_GALAXIES = 2000
RATE = 150.0
SEED = 11
JOB = """
[job]
run_dir = "run"
[targets]
survey = "sdss"
tables = ["galaxies.csv"]
[images]
source = "sdss"
service_url = "{url}"
requests_per_second = {rate}
size_pix = 64
shard_size = 64
chunk_size = 32
[cluster]
kind = "local-cpu"
num_workers = 4
"""
REASONS = {"broken": "HTTP 500", "missing": "HTTP 404", "black": "blank", "clipped": "wrong size"}


def write_galaxies(path: Path) -> dict[int, str]:
    """Write the survey table; return what the server will do to each galaxy."""
    rng = np.random.default_rng(SEED)
    ra_N, dec_N = rng.uniform(150, 160, NUM_GALAXIES), rng.uniform(0, 10, NUM_GALAXIES)
    with open(path, "w") as file:
        file.write("object_id,ra,dec,petroR90_r\n")
        for row, (ra, dec) in enumerate(zip(ra_N, dec_N, strict=True)):
            file.write(f"{10**18 + row},{ra:.7f},{dec:.7f},{5 + row % 7}\n")
    return {
        10**18 + row: fate(SEED, f"{ra:.7f}", f"{dec:.7f}", FAULTS)
        for row, (ra, dec) in enumerate(zip(ra_N, dec_N, strict=True))
    }


def test_every_galaxy_ends_and_nothing_is_asked_for_twice(tmp_path: Path) -> None:
    fates = write_galaxies(tmp_path / "galaxies.csv")
    run = tmp_path / "run"
    with start_server(tmp_path / "log", seed=SEED) as url:
        job = runs.write_job(tmp_path, JOB.format(url=url, rate=RATE))
        assert runs.run("select", job).returncode == 0
        kept_at: list[tuple[int, set[str]]] = []
        for num_wanted in (500, 1200):
            assert runs.kill_when(lambda wanted=num_wanted: len(downloads(run)) >= wanted, "ingest", job)
            kept_at.append((len(read_log(tmp_path / "log")), downloads(run)))
        result = runs.run("ingest", job)
        assert result.returncode == 0, result.stderr
        requests = read_log(tmp_path / "log")

    with open(run / "quarantine.csv", newline="") as file:
        reasons = {int(row["object_id"]): row["reason"].split(":")[0] for row in csv.DictReader(file)}
    assert reasons == {each: REASONS[what] for each, what in fates.items() if what in QUARANTINED}
    assert f"ingest: 2000 targets = {2000 - len(reasons)} stored + {len(reasons)} quarantined" in result.stdout
    store = open_store(run / "store.zarr")
    assert np.count_nonzero(store.read_is_stored()) == 2000 - len(reasons)

    position = positions(tmp_path / "galaxies.csv")
    for num_before, kept in kept_at:
        asked_later = {request.position for request in requests[num_before:]}
        again = [name for name in kept if position[int(Path(name).stem)] in asked_later]
        assert again == [], "a galaxy that was there was asked for again"
    in_flight = 2 * 4 * 4  # kills × workers × threads
    asked = Counter(request.position for request in requests)
    fine = [asked[position[each]] for each, what in fates.items() if what == "fine"]
    assert min(fine) == 1
    assert sum(fine) <= len(fine) + in_flight
    assert_paced([request for request in requests])


def assert_paced(requests: list[Request]) -> None:
    """In no stretch of time are there more requests than the rate allows, but for jitter at the server."""
    times = np.sort([request.time for request in requests])
    for length in (20, 100, 400):
        spans = times[length:] - times[:-length]
        assert spans.min() > (length - 15) / RATE


def downloads(run: Path) -> set[str]:
    return {path.name for path in (run / "downloads").glob("*/[0-9]*.jpg")}


def positions(table: Path) -> dict[int, tuple[str, str]]:
    with open(table, newline="") as file:
        return {int(row["object_id"]): (row["ra"], row["dec"]) for row in csv.DictReader(file)}


def test_a_service_that_is_down_stops_the_run_with_a_sentence_and_the_same_command_goes_on(tmp_path: Path) -> None:
    write_galaxies(tmp_path / "galaxies.csv")
    table = (tmp_path / "galaxies.csv").read_text().splitlines()
    (tmp_path / "galaxies.csv").write_text("\n".join(table[:129]) + "\n")
    with start_server(tmp_path / "log", seed=SEED, faults={}) as url:
        job = runs.write_job(tmp_path, JOB.format(url=url, rate=RATE))
        port = int(url.split(":")[2].split("/")[0])
    assert runs.run("select", job).returncode == 0
    result = runs.run("ingest", job)
    assert result.returncode == 1
    assert result.stderr.count("\n") <= 2
    assert "127.0.0.1 failed for " in result.stderr
    assert result.stderr.count("run the same command again") == 1
    assert not (run_store := tmp_path / "run" / "store.zarr" / "manifest.json").exists()
    with start_server(tmp_path / "log", seed=SEED, faults={}, port=port):
        result = runs.run("ingest", job)
    assert result.returncode == 0, result.stderr
    assert run_store.exists()
    assert "ingest: 128 targets = 128 stored + 0 quarantined" in result.stdout
