"""Running the command line for real, in processes of its own, and killing it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

TINY_JOB = """
[job]
run_dir = "run"
seed = 3
[targets]
survey = "simulated"
num_galaxies = 192
[images]
source = "simulated"
size_pix = 32
stretch = "asinh"
shard_size = 16
chunk_size = 16
[train]
num_folds = 2
num_epochs = 3
[score]
views = 1
runtime = "torch"
[catalog]
name = "tiny"
max_rows = 50
[cluster]
kind = "local-cpu"
num_workers = 2
"""


def write_job(path: Path, text: str = TINY_JOB) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "job.toml").write_text(text)
    return path / "job.toml"


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "skymetal", *map(str, arguments)]


def run(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its own output and exit code come back."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout, check=False)


def kill_when(condition: Callable[[], bool], *arguments: str | Path, timeout: float = 300) -> bool:
    """Start a command and SIGKILL it with all its children once the condition holds; False if it ended before."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + timeout
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            break
        time.sleep(0.005)
    was_running = process.poll() is None
    with suppress(ProcessLookupError):  # it ended, and left no child behind
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    return was_running


def contents(path: Path) -> dict[str, str]:
    """Return every file below a folder with its digest; links are followed once, at the top."""
    root = path.resolve()
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
