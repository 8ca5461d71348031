"""Killed anywhere, the same command finishes the job, and the catalogue's bytes are an undisturbed run's."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support import runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_killed_in_every_step_and_gone_on_with_step_by_step_a_job_ends_with_the_same_bytes(
    undisturbed: Path, tmp_path: Path
) -> None:
    job = runs.write_job(tmp_path)
    run_dir = tmp_path / "run"

    def found(pattern: str, number: int = 1) -> bool:
        return len([path for path in run_dir.glob(pattern) if "writing" not in path.name]) >= number

    def finish(step: str) -> None:
        result = runs.run(step, job)
        assert result.returncode == 0, result.stderr

    assert runs.kill_when(lambda: found("store.zarr/receipts/*.parquet", 2), "run", job)
    finish("ingest")
    assert runs.kill_when(lambda: found("checkpoints/fold*"), "run", job)
    finish("train")
    assert runs.kill_when(lambda: found("parts/receipts/*.json"), "run", job)
    assert not found("parts/manifest.json")
    score_while_a_worker_dies(job, run_dir)
    assert runs.kill_when(lambda: found("versions/.building*"), "run", job)
    finish("run")
    for name in ("catalogue", "store.zarr", "ensemble", "parts"):
        assert runs.contents(run_dir / name) == runs.contents(undisturbed / name)
    assert (run_dir / "evaluation.json").read_text() == (undisturbed / "evaluation.json").read_text()
    assert not list(run_dir.rglob(".writing-*"))


def score_while_a_worker_dies(job: Path, run_dir: Path) -> None:
    process = subprocess.Popen(runs.command("score", job), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    done = len(list(run_dir.glob("parts/receipts/*.json")))
    workers: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(workers) < 2:
        time.sleep(0.02)
        with suppress(psutil.Error):  # one that ends while it is looked at
            children = psutil.Process(process.pid).children(recursive=True)
            workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    while time.monotonic() < deadline and len(list(run_dir.glob("parts/receipts/*.json"))) == done:
        time.sleep(0.005)
    assert process.poll() is None
    os.kill(workers[0].pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors


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
