"""The run directory: everything a later command needs, one writer at a time."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder, digest, open_folder
from skymetal.deploy.config import Job

logger = logging.getLogger(__name__)

TARGETS = "targets.parquet"
ENSEMBLE = "ensemble"
CHECKPOINTS = "checkpoints"
PARTS = "parts"
QUARANTINE = "quarantine.csv"
EVALUATION = "evaluation.json"
FIGURES = "figures"
REPORT = "report.html"
LOG = "logs/skymetal.log"
SCRATCH = "scratch"


@dataclass(frozen=True)
class RunDirectory:
    """A run directory held by this process."""

    folder: Folder

    def record(self, step: str, event: str, **facts: Any) -> None:
        """Append one event, with its time, to events.jsonl."""
        line = json.dumps({"time": round(time.time(), 3), "step": step, "event": event, **facts}, sort_keys=True)
        with open(self.folder.path / "events.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")


@contextmanager
def hold_run_directory(job: Job) -> Iterator[RunDirectory]:
    """Make the run directory, lock it, clear what a killed run left half written, and log into it.

    Raises InputError where it cannot be written, or where another process is at work in it.
    """
    folder = open_folder(job.job.run_dir)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = open(folder.path / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 (held for the whole run)
    except OSError as error:
        raise InputError(
            f"[job] run_dir {folder} cannot be written ({error.strerror}); name a folder you may write to"
        ) from error
    with lock:
        _lock(lock.fileno(), folder)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        folder.sweep()
        shutil.rmtree(folder.path / SCRATCH, ignore_errors=True)
        resolved = job.to_toml().encode()
        if not folder.exists("job.toml") or folder.read("job.toml") != resolved:
            folder.write("job.toml", resolved)
        handler = _log_to(folder)
        run = RunDirectory(folder)
        run.record("job", "opened", job_digest=digest(resolved), pid=os.getpid())
        try:
            yield run
        except InputError:
            raise
        except Exception as error:
            logger.exception("the run stopped")
            error.add_note(f"Details are in {folder.path / LOG}.")
            raise
        finally:
            logging.getLogger().removeHandler(handler)
            handler.close()


def _lock(descriptor: int, folder: Folder) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = (folder.path / ".lock").read_text(encoding="utf-8").strip() or "unknown"
        raise InputError(
            f"another skymetal (process {owner}) is at work in {folder}; wait for it, or name another [job] run_dir"
        ) from None


def _log_to(folder: Folder) -> logging.Handler:
    path = folder.path / LOG
    path.parent.mkdir(exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    return handler
