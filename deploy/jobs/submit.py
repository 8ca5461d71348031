"""Submitting: a job is sent to a runner, and on record in its run directory before it is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skymetal.catalogs.errors import InputError, did_you_mean, first_line
from skymetal.catalogs.storage import Folder, local_path, open_folder
from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.settings import CONNECTED
from skymetal.deploy.config import Job, read_job
from skymetal.deploy.jobs import coordinator, kubernetes, slurm
from skymetal.deploy.jobs.local import driver_command, start_driver
from skymetal.deploy.jobs.sightings import this_machine
from skymetal.deploy.jobs.state import CANCEL
from skymetal.deploy.jobs.submission import (
    Submission,
    claim_submission,
    latest_submission,
    note_refusal,
    update_submission,
)
from skymetal.deploy.jobs.watch import DAMAGED, is_job, observe
from skymetal.deploy.steps import STEPS

RUNNERS = ("local", "dask", "slurm", "kubernetes")


def preview(job: Job, steps: Sequence[str], runner: str, *, job_file: Path) -> str:
    """Return the command, script or manifest that a submission would send, as one may type or send it oneself."""
    _check_steps(steps)
    words = [*steps, "--runner", runner]
    drive = [str(job_file.absolute()), *words]
    if runner == "slurm":
        return slurm.batch_script(job, run_dir=_shared_disk(open_folder(job.job.run_dir)), drive=drive)
    if runner == "kubernetes":
        return kubernetes.manifest(job, words, name=kubernetes.job_name(job, 0))
    command = shlex.join(driver_command(drive))
    if runner == "dask":
        return f"# on a worker of {_connected(job)} with the resource {coordinator.RESOURCE}\n{command}\n"
    return f"setsid {command} < /dev/null &\n"


def submit(job: Job, steps: Sequence[str], runner: str) -> Submission:
    """Send a job to a runner, and return at once.

    Raises InputError where it is at work or waiting already, where another submission was quicker, and where the runner
    cannot be had here.
    """
    _check_steps(steps)
    folder = open_folder(job.job.run_dir)
    if is_job(folder):
        view = observe([folder])[0]
        if view.is_going_on or view.state == DAMAGED:
            raise InputError(
                f"{folder} is {view.state}{f' ({view.reason})' if view.reason else ''}; "
                + ("see to that first" if view.state == DAMAGED else f"`skymetal jobs cancel {folder}` would stop it")
            )
    _check_runner(job, runner, folder)
    folder.remove(CANCEL)
    submission = claim_submission(folder, runner=runner, steps=tuple(steps), job_toml=job.to_toml())
    try:
        sent = _send(job, folder, submission)
    except BaseException as error:
        note_refusal(folder, submission.number, first_line(error))
        raise
    update_submission(folder, sent)
    return sent


def resume(folder: Folder) -> Submission:
    """Send a job to where it was sent last, as it was then. Raises InputError where it was never sent anywhere."""
    last = latest_submission(folder)
    if last is None:
        raise InputError(
            f"{folder} was never submitted; `skymetal run {folder}/job.toml` goes on with it here, `skymetal submit` "
            "elsewhere"
        )
    return submit(read_job(f"{folder}/{last.job_file}"), last.steps, last.runner)


def _check_steps(steps: Sequence[str]) -> None:
    for name in steps:
        if name not in STEPS:
            raise InputError(f"there is no step {name!r}; {did_you_mean(name, STEPS)}")


def _check_runner(job: Job, runner: str, folder: Folder) -> None:
    """Raise InputError where the runner could not send the job, before anything is on record."""
    if runner == "dask":
        _connected(job)
    elif runner == "slurm":
        slurm.refuse_without_slurm()
        slurm.batch_script(job, run_dir=_shared_disk(folder), drive=[])
    elif runner == "kubernetes":
        kubernetes.refuse_without_kubectl()
        kubernetes.manifest(job, [], name=kubernetes.job_name(job, 0))


def _shared_disk(folder: Folder) -> Path:
    return local_path(folder, what="--runner slurm")


def _connected(job: Job) -> str:
    if job.cluster.kind not in CONNECTED:
        raise InputError(
            f"--runner dask needs a cluster that is there: [cluster] kind = 'address' or 'scheduler-file', "
            f"got {job.cluster.kind!r}"
        )
    return job.cluster.address or job.cluster.scheduler_file


def _send(job: Job, folder: Folder, submission: Submission) -> Submission:
    """Send it, and return the submission with what the runner calls it."""
    words = [*submission.steps, "--runner", submission.runner, "--submission", str(submission.number)]
    drive = [f"{folder}/{submission.job_file}", *words]
    if submission.runner == "local":
        pid, started = start_driver(folder, drive)
        return replace(submission, sent_id=str(pid), started=started, machine=this_machine())
    if submission.runner == "slurm":
        (_shared_disk(folder) / "logs").mkdir(exist_ok=True)  # sbatch makes no folders
        script = slurm.batch_script(job, run_dir=_shared_disk(folder), drive=drive)
        folder.write(submission.job_file.replace("job.toml", "job.sbatch"), script.encode())
        return replace(submission, sent_id=slurm.send(script))
    name = kubernetes.job_name(job, submission.number)
    if submission.runner == "kubernetes":
        text = kubernetes.manifest(job, words, name=name)
        folder.write(submission.job_file.replace("job.toml", "job.yaml"), text.encode())
        kubernetes.send(text)
    else:
        with LazyCluster(job.cluster, scratch=folder.on_this_machine("").path) as cluster:
            coordinator.send(cluster.client(), folder, drive, key=name)
    return replace(submission, sent_id=name)
