"""Watching: what a run directory's files say of its job. Nothing is asked of a cluster, and nothing is written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder, LocalFolder, is_url, open_folder
from skymetal.deploy.config import read_job
from skymetal.deploy.jobs import slurm
from skymetal.deploy.jobs.sightings import LEASES, Verdict, find_alive, is_running, look, this_machine
from skymetal.deploy.jobs.state import CANCEL, FAILED, RUNNING, STATE, STOPPED, WAITING, JobState, read_state
from skymetal.deploy.jobs.submission import DRIVER_LOG, SUBMISSIONS, Submission, latest_submission
from skymetal.deploy.run_directory import LOG

STOPPING, LOST, DAMAGED = "stopping", "lost", "damaged"
GOING_ON = (WAITING, RUNNING, STOPPING)
MAX_DEPTH = 6


@dataclass(frozen=True, kw_only=True)
class View:
    """A job as it looks from outside: waiting, running, stopping, stopped, failed, done, lost or damaged, and why."""

    folder: Folder
    state: str
    reason: str = ""
    written: JobState | None = None
    submission: Submission | None = None

    @property
    def is_going_on(self) -> bool:
        """Whether something is at work, or will be without anybody doing anything."""
        return self.state in GOING_ON


def find_job(place: Path) -> Folder:
    """Return the run directory that a user named, itself or by its job file.

    Raises InputError where neither is there, or no job has ever been in it.
    """
    folder = open_folder(read_job(place).job.run_dir if place.suffix == ".toml" else place)
    if not folder.exists():
        raise InputError(f"{folder} does not exist; name a run directory, or a job file whose [job] run_dir is there")
    if not is_job(folder):
        raise InputError(f"no job has run in {folder}; `skymetal submit JOB` or `skymetal run JOB` starts one")
    return folder


def find_jobs(below: Path) -> list[Folder]:
    """Return the run directories below a folder, not following links. Raises InputError where it is none."""
    if is_url(below):
        raise InputError("`jobs list` looks through folders on a disk; name a run in a bucket to `jobs status`")
    if not below.is_dir():
        raise InputError(f"{below} is not a folder; name one with run directories below it")
    return [LocalFolder(path) for path in _walk(below.absolute(), MAX_DEPTH)]


def _walk(path: Path, depth: int) -> Iterator[Path]:
    if is_job(LocalFolder(path)):
        yield path
        return
    try:
        below = sorted(entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return  # not ours to read
    if depth:
        for name in below:
            yield from _walk(path / name, depth - 1)


def is_job(folder: Folder) -> bool:
    """Tell whether a job has been submitted to, or has worked in, a folder."""
    return any(folder.exists(name) for name in (STATE, SUBMISSIONS, LEASES))


def observe(folders: Sequence[Folder], *, patience_seconds: float | None = None) -> list[View]:
    """Say how jobs are. One whose driver is on another machine and silent is watched for up to patience_seconds."""
    verdicts = find_alive(folders, patience_seconds=patience_seconds)
    return [_view(folder, verdict) for folder, verdict in zip(folders, verdicts, strict=True)]


def _view(folder: Folder, verdict: Verdict) -> View:
    try:
        written, submission = read_state(folder), latest_submission(folder)
    except ValueError as error:
        return View(folder=folder, state=DAMAGED, reason=str(error))
    state, reason = _judge(folder, verdict, written, submission)
    return View(folder=folder, state=state, reason=reason, written=written, submission=submission)


def _judge(
    folder: Folder, verdict: Verdict, written: JobState | None, submission: Submission | None
) -> tuple[str, str]:
    """Return the state, and the reason where there is one. The state file was read after the verdict."""
    is_cancelled = folder.exists(CANCEL)
    if verdict.is_alive or (written is not None and written.state == RUNNING and written.epoch > verdict.epoch):
        return (STOPPING, "told to stop") if is_cancelled else (RUNNING, "")
    if submission is not None and (written is None or written.submission < submission.number):
        return _judge_waiting(submission, is_cancelled)
    if written is None:
        return LOST, f"its driver ended without a word; {DRIVER_LOG} or logs/skymetal.log may say more"
    if written.state == RUNNING:
        return LOST, f"its driver, process {written.pid} on {written.host}, is gone without a word"
    if written.state == WAITING and is_cancelled:
        return STOPPED, "cancelled before it began again"
    if written.state == WAITING and submission is not None and _has_slurm_dropped(submission):
        return LOST, f"Slurm has not put job {submission.sent_id} back into its queue"
    return written.state, written.reason


def _judge_waiting(submission: Submission, is_cancelled: bool) -> tuple[str, str]:
    if submission.refused:
        return FAILED, submission.refused
    if is_cancelled:
        return STOPPED, "cancelled before it began"
    here = submission.started and submission.machine == this_machine()
    if here and not is_running(int(submission.sent_id), submission.started):
        return FAILED, f"its driver ended before it began; see {DRIVER_LOG}"
    if _has_slurm_dropped(submission):
        number = submission.sent_id
        return FAILED, f"Slurm ended job {number} before its driver began; see `scontrol show job {number}`"
    sent = f" as {submission.sent_id}" if submission.sent_id else ""
    return WAITING, f"sent to {submission.runner}{sent}"


def _has_slurm_dropped(submission: Submission) -> bool:
    return submission.runner == "slurm" and bool(submission.sent_id) and slurm.has_forgotten(submission.sent_id)


def wait(folder: Folder, *, timeout_seconds: float | None, every_seconds: float = 1.0) -> View | None:
    """Wait until a job goes on no longer; None where it still does after timeout_seconds."""
    deadline = time.monotonic() + timeout_seconds if timeout_seconds is not None else float("inf")
    while True:
        view = observe([folder])[0]
        if not view.is_going_on:
            return view
        if time.monotonic() >= deadline:
            return None
        time.sleep(every_seconds)


def follow_log(folder: Folder, *, is_followed: bool, every_seconds: float = 0.5) -> Iterator[str]:
    """Give the lines of a job's log, and where it is followed those to come, until the job goes on no longer."""
    logs = _find_log(folder)
    if logs is None and not is_followed:
        raise InputError(f"there is no log in {folder} yet")
    position, rest = 0, b""
    while True:
        is_over = not is_followed or not observe([folder])[0].is_going_on  # asked before the last reading, not after
        logs = logs or _find_log(folder)
        if logs is not None:
            place, name = logs
            with place.filesystem.open_input_file(place.arrow_path(name)) as file:
                file.seek(position)
                data = file.read()
            position += len(data)
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
        if is_over:
            if rest:
                yield rest.decode(errors="replace")
            return
        time.sleep(every_seconds)


def _find_log(folder: Folder) -> tuple[Folder, str] | None:
    """Return where the driver's log is: beside its run directory; of one in a bucket first on this machine."""
    here = folder.on_this_machine("")
    found: list[tuple[Folder, str]] = [(here, name) for name in (DRIVER_LOG, LOG) if here.exists(name)]
    found = [(place, name) for place, name in found if place.find_size(name) is not None]  # a pipe would never end
    found += [(folder, name) for name in folder.names("logs/*.log") if folder != here]
    return found[0] if found else None


def holder_of(folder: Folder) -> str:
    """Return who holds the lease of a run directory, in words."""
    seen = look(folder)
    return str(seen.holder) if seen is not None and seen.holder is not None else "an unknown process"
