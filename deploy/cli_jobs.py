"""``skymetal submit`` and ``skymetal jobs``: work that goes on without the terminal, and a look at it from anywhere."""

from __future__ import annotations

import math
import shlex
import sys
import time
from pathlib import Path

import click

from skymetal.catalogs.errors import InputError, first_line, printable
from skymetal.catalogs.storage import Folder, open_folder
from skymetal.deploy.cli_options import set_option
from skymetal.deploy.config import read_job
from skymetal.deploy.console import format_table
from skymetal.deploy.jobs import sightings, watch
from skymetal.deploy.jobs.cancel import cancel as cancel_job
from skymetal.deploy.jobs.driver import Scheduler, end_with_standard_input
from skymetal.deploy.jobs.driver import drive as drive_job
from skymetal.deploy.jobs.secrets import mask
from skymetal.deploy.jobs.sightings import is_surely_alive, look
from skymetal.deploy.jobs.slurm import PUT_BACK
from skymetal.deploy.jobs.state import DONE, Progress
from skymetal.deploy.jobs.submission import Submission
from skymetal.deploy.jobs.submit import RUNNERS, preview
from skymetal.deploy.jobs.submit import resume as resume_job
from skymetal.deploy.jobs.submit import submit as submit_job
from skymetal.deploy.jobs.watch import View, find_job, find_jobs, observe
from skymetal.deploy.run_directory import Origin

ENDED_OTHERWISE, TIMED_OUT = 1, 124
_path = click.Path(path_type=Path)


@click.command()
@click.argument("job", type=_path)
@click.argument("steps", nargs=-1, metavar="[STEP]…")
@click.option("--runner", type=click.Choice(RUNNERS), default="local", show_default=True, help="What it is sent to.")
@click.option("--print", "is_preview", is_flag=True, help="Show the command, script or manifest, and do nothing.")
@set_option
def submit(job: Path, steps: tuple[str, ...], runner: str, is_preview: bool, assignments: tuple[str, ...]) -> None:
    """Send a job away, all its steps or those named, and return at once.

    local: a process of its own on this machine. dask: on a worker, with the resource JOB, of the cluster in [cluster].
    slurm: a batch job, by [submit]. kubernetes: a DaskJob, by [cluster].
    """
    content = read_job(job, assignments)
    if not is_preview:
        _tell(submit_job(content, steps, runner), open_folder(content.job.run_dir))
    elif assignments:
        raise InputError("--print shows what reads the job file later: write the value there, not in --set")
    else:
        click.echo(preview(content, steps, runner, job_file=job), nl=False)


def _tell(submission: Submission, folder: Folder) -> None:
    click.echo(f"submitted to {submission.runner}" + (f" as {submission.sent_id}" if submission.sent_id else ""))
    for what, verb in (("How is it?", "status"), ("Follow it", "logs -f"), ("Stop it", "cancel"), ("Wait", "wait")):
        click.echo(f"{what:<12}skymetal jobs {verb} {shlex.quote(str(folder))}")


@click.group()
def jobs() -> None:
    """Jobs in their run directories: from any machine that sees the files, with their cluster alive or gone.

    JOB is a run directory, or the job file that names it.
    """


@jobs.command(name="list")
@click.argument("folder", type=_path, default=".")
def list_jobs(folder: Path) -> None:
    """The run directories below a folder, and how each job is."""
    views = _observe(find_jobs(folder))
    rows = [[str(view.folder), view.state, *_summary(view)] for view in views]
    click.echo(
        format_table(["job", "state", "step", "runner", ""], [[printable(cell) for cell in row] for row in rows])
    )


def _observe(folders: list[Folder]) -> list[View]:
    silent = [folder for folder in folders if is_surely_alive(look(folder)) is None]
    if silent:
        click.echo(f"watching for a driver's sign of life, for at most {sightings.STALE_SECONDS:g} s", err=True)
    return observe(folders)


def _summary(view: View) -> tuple[str, str, str]:
    runner = view.written.runner if view.written else view.submission.runner if view.submission else ""
    return _progress(view), runner, view.reason


@jobs.command()
@click.argument("job", type=_path)
def status(job: Path) -> None:
    """How a job is: waiting, running, stopping, stopped, failed, done, or lost (its driver is gone without a word)."""
    view = _observe([find_job(job)])[0]
    for name, text in _lines(view).items():
        if text:
            click.echo(f"{name:<8}{printable(text)}")


def _lines(view: View) -> dict[str, str]:
    lines = {"state": view.state, "reason": view.reason}
    if view.submission is not None:
        sent = view.submission
        name = f" as {sent.sent_id}" if sent.sent_id else ""
        lines["sent"] = f"to {sent.runner} from {sent.host}, {_moment(sent.time)}{name}"
    if view.written is not None:
        written = view.written
        lines |= {
            "steps": ", ".join(written.steps),
            "step": _progress(view),
            "driver": f"process {written.pid} on {written.host}, last heard of {_moment(written.heartbeat)}",
            "pages": f"{written.dashboard} (Dask's, on its own machine alone)" if written.dashboard else "",
            "result": written.result,
        }
    place = shlex.quote(str(view.folder))
    lines["log"] = f"skymetal jobs logs {place}"
    if view.state not in (*watch.GOING_ON, DONE):
        lines["next"] = f"skymetal jobs resume {place}"
    return lines


def _progress(view: View) -> str:
    written = view.written
    if written is None or written.state == DONE:
        return ""
    if written.progress is None or not view.is_going_on:
        return written.step
    return f"{written.step}: {_describe(written.progress)}"


def _describe(progress: Progress) -> str:
    text = f"{progress.done} of {progress.total} {progress.unit}"
    if not progress.rate or progress.eta_seconds is None:
        return text
    return f"{text}, {progress.rate:.3g} a second, about {math.ceil(progress.eta_seconds / 60)} min left"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


@jobs.command()
@click.argument("job", type=_path)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is to come, until the job ends.")
def logs(job: Path, follow: bool) -> None:
    """What a job has said."""
    for line in watch.follow_log(find_job(job), is_followed=follow):
        click.echo(printable(line))


@jobs.command()
@click.argument("job", type=_path)
def cancel(job: Path) -> None:
    """Tell a job to stop; what is done is kept. It stops as at Ctrl-C, within seconds."""
    click.echo(cancel_job(find_job(job)))


@jobs.command()
@click.argument("job", type=_path)
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds; without, as long as it takes.")
def wait(job: Path, timeout: float | None) -> None:
    """Wait for a job to end. Exit code 0: done; 1: failed, stopped or lost; 124: it still goes on after --timeout."""
    view = watch.wait(find_job(job), timeout_seconds=timeout)
    if view is None:
        click.echo(f"still going on after {timeout:g} s", err=True)
        sys.exit(TIMED_OUT)
    click.echo(view.state + (f": {printable(view.reason)}" if view.reason else ""))
    if view.state != DONE:
        sys.exit(ENDED_OTHERWISE)


@jobs.command()
@click.argument("job", type=_path)
def resume(job: Path) -> None:
    """Send a job that was stopped, failed or lost to where it was sent last; it goes on where it was."""
    folder = find_job(job)
    _tell(resume_job(folder), folder)


@click.command(hidden=True)
@click.argument("job", type=_path)
@click.argument("steps", nargs=-1)
@click.option("--runner", required=True)
@click.option("--submission", default=0)
@click.option("--scheduler-file", default="")
@click.option("--scheduler", default="")
@click.option("--tls-dir", default="")
@click.option("--tied", is_flag=True, help="Stop when standard input closes.")
@click.option(
    "--exit-zero", is_flag=True, help="Exit 0 however it ended: only one that was killed is to be started again."
)
def drive(
    job: Path,
    steps: tuple[str, ...],
    runner: str,
    submission: int,
    scheduler_file: str,
    scheduler: str,
    tls_dir: str,
    tied: bool,
    exit_zero: bool,
) -> None:
    """The driver of a submitted job; for runners, not for people."""
    origin = Origin(runner=runner, submission=submission)
    if tied:
        end_with_standard_input(origin)
    try:
        drive_job(
            job, steps, origin=origin, scheduler=Scheduler(file=scheduler_file, address=scheduler, tls_dir=tls_dir)
        )
    except KeyboardInterrupt:
        if origin.put_back:
            click.echo(f"skymetal: stopped: {origin.put_back}", err=True)
            sys.exit(PUT_BACK)
        if not exit_zero:
            raise
        click.echo("skymetal: stopped", err=True)
    except Exception as error:
        if not exit_zero:
            raise
        click.echo(f"skymetal: {mask(printable(first_line(error)))}", err=True)
