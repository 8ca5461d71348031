"""Submissions: what was sent where, a folder each in the run directory: ``submissions/<number>/``.

The record is made by put-if-absent, so of two who submit at once one wins.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import asdict, dataclass, fields, replace

from skymetal.catalogs.errors import InputError, printable
from skymetal.catalogs.storage import Folder
from skymetal.deploy.jobs.secrets import mask
from skymetal.deploy.jobs.sightings import this_machine
from skymetal.deploy.jobs.state import refuse_other_types

SUBMISSIONS = "submissions"
DRIVER_LOG = "logs/driver.log"
_MAX_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One sending of a job. sent_id is the runner's own name for it: a process, a Slurm job, a Dask key, a DaskJob.

    started is when the process of a local one began, on that machine; refused why its driver could not begin.
    """

    number: int
    runner: str
    steps: tuple[str, ...]
    host: str
    machine: str
    time: float
    sent_id: str = ""
    started: float = 0.0
    refused: str = ""

    @property
    def job_file(self) -> str:
        """The name of its job file in the run directory."""
        return f"{SUBMISSIONS}/{self.number:06d}/job.toml"


def claim_submission(folder: Folder, *, runner: str, steps: tuple[str, ...], job_toml: str) -> Submission:
    """Record a new submission, before it is sent. Raises InputError where another one was quicker."""
    before = latest_submission(folder)
    submission = Submission(
        number=1 + (before.number if before else 0),
        runner=runner,
        steps=steps,
        host=socket.gethostname(),
        machine=this_machine(),
        time=round(time.time(), 1),
    )
    if not folder.put_if_absent(_record(submission.number), _content(submission)):
        raise InputError(f"{folder} was submitted by somebody else at this very moment; see `skymetal jobs status`")
    folder.write(submission.job_file, job_toml.encode())
    return submission


def update_submission(folder: Folder, submission: Submission) -> None:
    """Replace a submission's record, for the one who sent it."""
    folder.write(_record(submission.number), _content(submission))


def note_refusal(folder: Folder, number: int, reason: str) -> None:
    """Record why a submission did not begin."""
    folder.write(_refusal(number), mask(printable(reason)).encode())


def latest_submission(folder: Folder) -> Submission | None:
    """Return the newest submission, or None. Raises ValueError where its record is damaged."""
    names = folder.names(f"{SUBMISSIONS}/*/record.json")
    if not names:
        return None
    try:
        content = json.loads(folder.read(names[-1], max_bytes=_MAX_BYTES))
        known = {field.name for field in fields(Submission)}
        values = {key: value for key, value in content.items() if key in known}
        submission = Submission(**values | {"steps": tuple(values["steps"])})
        refuse_other_types(submission)
        if submission.started and not submission.sent_id.isdecimal():
            raise ValueError(f"sent_id is {submission.sent_id!r}, and no process")
        refusal = _refusal(submission.number)
        if not folder.exists(refusal):
            return submission
        return replace(submission, refused=folder.read(refusal, max_bytes=_MAX_BYTES).decode(errors="replace"))
    except (OSError, TypeError, AttributeError, KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder}/{names[-1]} is damaged ({error}); delete it, and submit the job again") from error


def _record(number: int) -> str:
    return f"{SUBMISSIONS}/{number:06d}/record.json"


def _refusal(number: int) -> str:
    return f"{SUBMISSIONS}/{number:06d}/refused.txt"


def _content(submission: Submission) -> bytes:
    return json.dumps(asdict(submission), sort_keys=True, indent=1).encode()
