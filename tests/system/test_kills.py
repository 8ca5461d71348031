"""Killed anywhere, the same command finishes the job, and the catalogue's bytes are an undisturbed run's."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from support import runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_job_killed_in_every_step_ends_with_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    job = runs.write_job(tmp_path)
    run_dir = tmp_path / "run"

    def found(pattern: str, number: int = 1) -> bool:
        return len([path for path in run_dir.glob(pattern) if "writing" not in path.name]) >= number

    moments = [
        lambda: found("store.zarr/receipts/*.parquet", 2),
        lambda: found("checkpoints/fold*"),
        lambda: found("parts/receipts/*.json", 3),
        lambda: found("versions/.building*"),
    ]
    for number, moment in enumerate(moments):
        was_running = runs.kill_when(moment, "run", job)
        assert was_running, f"the job ended before moment {number}"
    result = runs.run("run", job)
    assert result.returncode == 0, result.stderr
    assert runs.contents(run_dir / "catalogue") == runs.contents(undisturbed / "catalogue")
    assert runs.contents(run_dir / "store.zarr") == runs.contents(undisturbed / "store.zarr")
    assert runs.contents(run_dir / "ensemble") == runs.contents(undisturbed / "ensemble")
    assert runs.contents(run_dir / "parts") == runs.contents(undisturbed / "parts")
    assert not list(run_dir.rglob(".writing-*"))


def test_step_by_step_and_a_worker_killed_in_mid_score_change_no_byte(undisturbed: Path, tmp_path: Path) -> None:
    job = runs.write_job(tmp_path)
    for verb in ("select", "ingest", "train"):
        assert runs.run(verb, job).returncode == 0
    process = subprocess.Popen(runs.command("score", job), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    receipts = tmp_path / "run" / "parts" / "receipts"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(receipts.glob("*.json"))) < 2:
        time.sleep(0.005)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    assert process.poll() is None
    os.kill(workers[0].pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    for verb in ("publish", "evaluate", "report"):
        assert runs.run(verb, job).returncode == 0
    assert runs.contents(tmp_path / "run" / "catalogue") == runs.contents(undisturbed / "catalogue")
    assert (tmp_path / "run" / "evaluation.json").read_text() == (undisturbed / "evaluation.json").read_text()


def test_ctrl_c_stops_with_one_line_and_leaves_nothing_running(tmp_path: Path) -> None:
    job = runs.write_job(tmp_path)
    process = subprocess.Popen(
        runs.command("run", job), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / "run").glob("checkpoints/fold*")):
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "skymetal: stopped; the same command goes on from here"
    assert "Traceback" not in errors
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
