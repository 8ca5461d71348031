"""The driver of a submitted job: the same work as ``skymetal run``, started by a runner and not by a person."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from skymetal.catalogs.errors import InputError, first_line
from skymetal.catalogs.storage import Folder, open_folder
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.deploy.config import Job, read_job
from skymetal.deploy.interrupt import interrupt
from skymetal.deploy.jobs.state import CANCEL, read_state
from skymetal.deploy.jobs.submission import latest_submission, note_refusal
from skymetal.deploy.run import open_run
from skymetal.deploy.run_directory import Origin
from skymetal.deploy.steps import STEPS, run_steps


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """The cluster that the runner gives the driver in place of the job's own: by file or address."""

    file: str = ""
    address: str = ""
    tls_dir: str = ""

    def settings(self, job: Job) -> ClusterSettings | None:
        """Return the ``[cluster]`` to connect with; None where the job's own is meant."""
        if not (self.file or self.address):
            return None
        return ClusterSettings(
            kind="scheduler-file" if self.file else "address",
            scheduler_file=self.file,
            address=self.address,
            tls_dir=self.tls_dir or job.cluster.tls_dir,
            insecure=job.cluster.insecure,
            gpus=job.cluster.gpus or job.submit.gpus_per_node > 0,
            start_timeout_min=job.cluster.start_timeout_min,
        )


def drive(job_file: Path, steps: Sequence[str], *, origin: Origin, scheduler: Scheduler) -> None:
    """Do the steps of a job, all where none is named.

    Raises KeyboardInterrupt where it is cancelled or stopped by a signal. What keeps it from beginning is on record.
    """

    def put_back(number: int, frame: FrameType | None) -> None:
        origin.put_back = "its time was up; it is in the queue again"
        interrupt(number, frame)

    signal.signal(signal.SIGUSR1, put_back)
    folder = None
    try:
        job = read_job(job_file)
        folder = open_folder(job.job.run_dir)
        _refuse_to_begin(folder, origin)
        with open_run(job, origin, cluster=scheduler.settings(job)) as run:
            run_steps(run, tuple(steps or STEPS))
    except Exception as error:
        if folder is not None and origin.submission and not _has_begun(folder, origin.submission):
            note_refusal(folder, origin.submission, first_line(error))
        raise


def _refuse_to_begin(folder: Folder, origin: Origin) -> None:
    if folder.exists(CANCEL):
        raise KeyboardInterrupt
    latest = latest_submission(folder) if origin.submission else None
    if latest is not None and latest.number != origin.submission:
        raise InputError(f"{folder} has been submitted again since (submission {latest.number}), so this one is void")


def _has_begun(folder: Folder, submission: int) -> bool:
    try:
        state = read_state(folder)
    except ValueError:
        return False
    return state is not None and state.submission == submission


def end_with_standard_input(origin: Origin) -> None:
    """From now on, stop when the worker that started this process has closed the other end of standard input."""

    def watch() -> None:
        while sys.stdin.buffer.read(1):
            pass
        origin.put_back = "the worker beside its driver is gone; Dask starts it again beside another"
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="tied", daemon=True).start()
