"""The run directory: everything a later command needs, one writer at a time."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skymetal.catalogs.errors import InputError, StorageFailed
from skymetal.catalogs.storage import Folder, ObjectFolder, digest, local_path, open_folder
from skymetal.deploy.bucket_lease import hold_lease
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
        self.folder.append("events.jsonl", f"{line}\n".encode())


@contextmanager
def hold_run_directory(job: Job) -> Iterator[RunDirectory]:
    """Make the run directory, lock it, clear what a killed run left half written, and log into it.

    Raises InputError where it cannot be written, or where another process is at work in it.
    """
    folder = open_folder(job.job.run_dir)
    folder.check()
    with hold_lease(folder) if isinstance(folder, ObjectFolder) else _hold_lock(local_path(folder, what="a lock")):
        folder.sweep()
        folder.on_this_machine("").remove_folder(SCRATCH)
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
            error.add_note(f"Details are in {folder.on_this_machine('').path / LOG}.")
            raise
        finally:
            logging.getLogger().removeHandler(handler)
            handler.close()
            _keep_log(folder)


@contextmanager
def _hold_lock(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 (held for the whole run)
    except OSError as error:
        raise InputError(
            f"[job] run_dir {folder} cannot be written ({error.strerror}); name a folder you may write to"
        ) from error
    with lock:
        _lock(lock.fileno(), folder)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = (folder / ".lock").read_text(encoding="utf-8").strip() or "unknown"
        raise InputError(
            f"another skymetal (process {owner}) is at work in {folder}; wait for it, or name another [job] run_dir"
        ) from None


def _log_to(folder: Folder) -> logging.Handler:
    path = folder.on_this_machine("").path / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    return handler


def _keep_log(folder: Folder) -> None:
    """Keep a copy of this machine's log in the bucket, where the run directory is in one."""
    if isinstance(folder, ObjectFolder):
        log = folder.on_this_machine("").read(LOG)
        with suppress(StorageFailed):  # perhaps that is why the run stopped: the log is still here
            folder.write(f"logs/{socket.gethostname()}.log", log)
