"""Ingest as a survey engineer meets it: killed at any moment, damaged on disk, larger than memory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from support import runs

NUM_KILLS = 6
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

JOB = """
[job]
run_dir = "run"
seed = 5
[targets]
survey = "simulated"
num_galaxies = 1200
[images]
source = "simulated"
size_pix = 16
shard_size = 16
chunk_size = 8
[cluster]
kind = "local-cpu"
num_workers = 2
"""


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of an ingest that nothing went wrong in."""
    job = runs.write_job(tmp_path_factory.mktemp("ingested"), JOB)
    for verb in ("select", "ingest"):
        result = runs.run(verb, job)
        assert result.returncode == 0, result.stderr
    assert "ingest: 1200 targets = " in result.stdout
    return job.parent / "run"


def test_sigkill_at_random_moments_leaves_a_store_of_the_same_bytes(ingested: Path, tmp_path: Path) -> None:
    job = runs.write_job(tmp_path, JOB)
    assert runs.run("select", job).returncode == 0
    rng = np.random.default_rng()  # other moments in every run of the tests
    receipts = tmp_path / "run" / "store.zarr" / "receipts"
    num_kills = 0
    for _ in range(NUM_KILLS):
        # One in four while it starts, the others while it works.
        is_starting = rng.random() < 0.25
        wanted = 0 if is_starting else num_receipts(receipts) + int(rng.integers(1, 60 // NUM_KILLS))
        delay = rng.random() * 0.03
        earliest = time.monotonic() + (rng.uniform(0, 2) if is_starting else 0)

        def moment(wanted: int = wanted, delay: float = delay, earliest: float = earliest) -> bool:
            reached = num_receipts(receipts) >= wanted and time.monotonic() > earliest
            time.sleep(delay if reached else 0)
            return reached

        num_kills += runs.kill_when(moment, "ingest", job)
    assert num_kills >= NUM_KILLS - 2, "the ingest ended too early to be killed"
    result = runs.run("ingest", job)
    assert result.returncode == 0, result.stderr
    assert runs.contents(tmp_path / "run" / "store.zarr") == runs.contents(ingested / "store.zarr")
    assert not list((tmp_path / "run").rglob(".writing-*"))


def test_a_shard_size_left_out_is_the_one_that_it_was_fitted_to(tmp_path: Path) -> None:
    job = runs.write_job(tmp_path, JOB.replace("shard_size = 16\n", "").replace("1200", "200"))
    assert runs.run("select", job).returncode == 0
    assert "2 of 2 are yet to be written: 128 galaxies" in runs.run("plan", job).stdout
    assert runs.run("ingest", job).returncode == 0
    assert num_receipts(tmp_path / "run" / "store.zarr" / "receipts") == 2
    assert runs.run("ingest", job, "--set", "images.shard_size=128").returncode == 0
    refused = runs.run("ingest", job, "--set", "images.shard_size=64")
    assert refused.returncode == 2
    assert "began `ingest` with shard_size = 128, but this job has shard_size = 64; name another" in refused.stderr


def test_a_batch_system_that_ends_the_job_is_told_the_same_as_ctrl_c(tmp_path: Path) -> None:
    job = runs.write_job(tmp_path, JOB)
    assert runs.run("select", job).returncode == 0
    process = subprocess.Popen(runs.command("ingest", job), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while num_receipts(tmp_path / "run" / "store.zarr" / "receipts") < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines() == ["skymetal: stopped; the same command goes on from here"]
    result = runs.run("store", "verify", tmp_path / "run")
    assert result.returncode == 1
    assert "what they hold is whole; the store is not finished: run `skymetal ingest`" in result.stderr


def num_receipts(receipts: Path) -> int:
    return len([name for name in os.listdir(receipts) if name.endswith(".parquet")]) if receipts.exists() else 0


def test_a_second_run_adds_nothing(ingested: Path, tmp_path: Path) -> None:
    shutil.copytree(ingested, tmp_path / "run")
    job = runs.write_job(tmp_path, JOB)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "store.zarr" / "images").rglob("*")}
    result = runs.run("ingest", job)
    assert result.returncode == 0, result.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_damage_is_found_named_and_repaired_and_nothing_else_is_touched(ingested: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ingested, run)
    assert runs.run("store", "verify", run).returncode == 0
    shards = run / "store.zarr" / "images" / "c"
    flipped = bytearray((shards / "3/0/0/0").read_bytes())
    flipped[len(flipped) // 4] ^= 16
    (shards / "3/0/0/0").write_bytes(flipped)
    os.truncate(shards / "10/0/0/0", 100)
    (shards / "20/0/0/0").unlink()
    (run / "store.zarr" / "receipts" / "000030.parquet").unlink()
    (run / "store.zarr" / "zarr.json").write_text(
        (run / "store.zarr" / "zarr.json").read_text().replace('"shard_size": 16', '"shard_size": 8')
    )
    result = runs.run("store", "verify", run)
    assert result.returncode == 1
    assert "zarr.json" in result.stdout

    result = runs.run("store", "repair", run)
    assert result.returncode == 0, result.stderr
    repaired = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("repair:")]
    lost = ["images/c/3/0/0/0", "images/c/10/0/0/0", "images/c/20/0/0/0"]
    assert sorted(repaired) == sorted(["zarr.json", "receipts/000030.parquet", *lost])
    assert runs.contents(run / "store.zarr") == runs.contents(ingested / "store.zarr")
    before = (ingested / "store.zarr" / "images/c/4/0/0/0").stat().st_mtime_ns
    assert (shards / "4/0/0/0").stat().st_mtime_ns == before
    assert runs.run("store", "verify", run).returncode == 0


def test_verify_names_the_galaxies_that_are_lost(ingested: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ingested, run)
    (run / "store.zarr" / "images" / "c" / "20/0/0/0").unlink()
    result = runs.run("store", "verify", run, "--format", "csv")
    assert result.returncode == 1
    header, *rows = result.stdout.splitlines()
    assert header == "object_id,file,what"
    assert len(rows) == 16
    assert all(row.endswith(",images/c/20/0/0/0,missing") for row in rows)


def test_info_and_plan_say_what_a_person_asks(ingested: Path, tmp_path: Path) -> None:
    result = runs.run("store", "info", ingested)
    assert result.returncode == 0, result.stderr
    assert "1200 = " in result.stdout
    assert "16 × 16 × 3 uint8" in result.stdout
    job = runs.write_job(tmp_path, JOB)
    assert runs.run("select", job).returncode == 0
    result = runs.run("plan", job)
    assert result.returncode == 0, result.stderr
    assert "1200 of 1200 are yet to be ingested" in result.stdout
    assert "at most 401 MB a task" in result.stdout or "MB a task, 2 at once" in result.stdout
    too_much = runs.run("plan", job, "--set", "cluster.num_workers=1000")
    assert too_much.returncode == 1
    assert "lower [images] shard_size (now 16) or [cluster] num_workers" in too_much.stderr
