"""The run directory: everything a later command needs, one writer at a time."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from skymetal.catalogs.contents import LINK
from skymetal.catalogs.errors import InputError, StorageFailed, first_line, printable
from skymetal.catalogs.storage import Folder, LocalFolder, digest, open_folder
from skymetal.deploy.config import Job
from skymetal.deploy.console import say, track
from skymetal.deploy.jobs.heartbeat import Heartbeat
from skymetal.deploy.jobs.lease import Lease, take_lease
from skymetal.deploy.jobs.secrets import MaskingFormatter, mask
from skymetal.deploy.jobs.state import (
    CANCEL,
    DONE,
    FAILED,
    RUNNING,
    STOPPED,
    TERMINAL,
    WAITING,
    JobState,
    Progress,
)
from skymetal.deploy.jobs.submission import latest_submission

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

Item = TypeVar("Item")


@dataclass(kw_only=True)
class Origin:
    """Who started this driver: a person at a terminal, or a runner with a submission.

    put_back is why the runner has stopped the driver, where it is to start it again.
    """

    runner: str = TERMINAL
    submission: int = 0
    put_back: str = ""


@dataclass(frozen=True, kw_only=True)
class RunDirectory:
    """A run directory held by this process."""

    folder: Folder
    scratch: Path
    lease: Lease
    heartbeat: Heartbeat
    origin: Origin

    def record(self, step: str, event: str, **facts: Any) -> None:
        """Append one event, with its time, to events.jsonl."""
        line = json.dumps({"time": round(time.time(), 3), "step": step, "event": event, **facts}, sort_keys=True)
        self.heartbeat.confirm()
        self.folder.append("events.jsonl", f"{mask(line)}\n".encode())

    @contextmanager
    def working(self, steps: Sequence[str]) -> Iterator[None]:
        """Keep the state file for the steps of a job: running, and how it ended."""
        if self.origin.runner == TERMINAL:  # a person who gives the command wants it to go on
            self.folder.remove(CANCEL)
        before = latest_submission(self.folder) if self.origin.submission == 0 else None
        submission = before.number if before is not None else self.origin.submission
        beat, runner = self.heartbeat, self.origin.runner
        beat.begin(
            JobState(state=RUNNING, steps=tuple(steps), runner=runner, submission=submission, epoch=self.lease.epoch)
        )
        try:
            yield
        except KeyboardInterrupt:
            if beat.is_cancelled:
                beat.end(state=STOPPED, reason="cancelled")
            elif self.origin.put_back:
                beat.end(state=WAITING, reason=self.origin.put_back)
            else:
                beat.end(state=STOPPED, reason="stopped by Ctrl-C or a signal")
            raise
        except Exception as error:
            beat.end(state=FAILED, reason=mask(printable(first_line(error))))
            raise
        beat.end(state=DONE, result=f"{self.folder}/{LINK}" if self.folder.exists(LINK) else "")

    def track(
        self,
        items: Iterable[Item],
        *,
        title: str,
        total: int,
        unit: str,
        amount: Callable[[Item], int],
        note: Callable[[Item], str] | None = None,
    ) -> Iterator[Item]:
        """Pass items on while showing progress to the user, and to those who watch the state file."""
        start, done = time.monotonic(), 0
        self.heartbeat.update(step=title, progress=Progress(done=0, total=total, unit=unit))
        for item in track(items, title=title, total=total, unit=unit, amount=amount, note=note):
            self.heartbeat.confirm()
            yield item
            done += amount(item)
            rate = done / max(time.monotonic() - start, 1e-9)
            eta = (total - done) / rate if rate else None
            self.heartbeat.update(
                progress=Progress(done=done, total=total, unit=unit, rate=round(rate, 3), eta_seconds=eta)
            )


@contextmanager
def hold_run_directory(job: Job, origin: Origin | None = None) -> Iterator[RunDirectory]:
    """Make the run directory, take its lease, clear what a killed run left half written, and log into it.

    Raises InputError where it cannot be written, or where another driver is at work in it; LeaseLost, at the end, where
    this one was frozen and another has taken over meanwhile.
    """
    folder = open_folder(job.job.run_dir)
    folder.check()
    with _lock(folder) if isinstance(folder, LocalFolder) else nullcontext():
        lease = take_lease(folder, tell=say)
        heartbeat = Heartbeat(folder, lease)
        heartbeat.start()
        try:
            with _logging_to(folder):
                yield _prepare(job, folder, lease, heartbeat, origin or Origin())
        except KeyboardInterrupt:
            if heartbeat.lost is not None:
                raise heartbeat.lost from None
            raise
        finally:
            with suppress(OSError):
                folder.on_this_machine(SCRATCH).path.rmdir()
            heartbeat.stop()


def _prepare(job: Job, folder: Folder, lease: Lease, heartbeat: Heartbeat, origin: Origin) -> RunDirectory:
    folder.sweep()
    folder.on_this_machine("").remove_folder(SCRATCH)
    resolved = job.to_toml().encode()
    if not folder.exists("job.toml") or folder.read("job.toml") != resolved:
        folder.write("job.toml", resolved)
    # A scratch folder for each holder: one that was frozen and wakes deletes its own.
    scratch = folder.on_this_machine(f"{SCRATCH}/{lease.epoch}").path
    run = RunDirectory(folder=folder, scratch=scratch, lease=lease, heartbeat=heartbeat, origin=origin)
    run.record("job", "opened", job_digest=digest(resolved), pid=os.getpid())
    return run


@contextmanager
def _lock(folder: LocalFolder) -> Iterator[None]:
    """Lock the run directory, which tells two drivers of one machine apart at once."""
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = open(folder.path / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 (held for the whole run)
    except OSError as error:
        raise InputError(
            f"[job] run_dir {folder} cannot be written ({error.strerror}); name a folder you may write to"
        ) from error
    with lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = (folder.path / ".lock").read_text(encoding="utf-8").strip() or "unknown"
            raise InputError(
                f"another skymetal (process {owner}) is at work in {folder}; wait for it, or name another [job] run_dir"
            ) from None
        except OSError as error:  # a network file system without locks: the lease is enough
            logger.info("%s cannot be locked (%s); its lease is relied on", folder, error.strerror)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def _logging_to(folder: Folder) -> Iterator[None]:
    path = folder.on_this_machine("").path / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        logger.exception("the run stopped")
        error.add_note(f"Details are in {path}.")
        raise
    finally:
        root.removeHandler(handler)
        handler.close()
        if not isinstance(folder, LocalFolder):
            with suppress(StorageFailed):  # perhaps that is why the run stopped: the log is still here
                folder.write(f"logs/{socket.gethostname()}.log", path.read_bytes())
