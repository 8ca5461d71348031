"""The command line: verbs here, values in the job file."""

from __future__ import annotations

import json
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import skymetal
from skymetal.catalogs.errors import InputError, StorageFailed, printable
from skymetal.catalogs.selection.sdss import casjobs_sql
from skymetal.deploy.cli_options import job_options, set_option
from skymetal.deploy.config import Job, read_job
from skymetal.deploy.console import say
from skymetal.deploy.evaluation.beside_paper import PAPER
from skymetal.deploy.interrupt import heed_interrupts
from skymetal.deploy.jobs.secrets import mask
from skymetal.deploy.run import open_run
from skymetal.deploy.steps import STEPS, run_steps

DEMO = Path(__file__).with_name("demo.toml")
_ELSEWHERE = {
    "submit": "skymetal.deploy.cli_jobs",
    "jobs": "skymetal.deploy.cli_jobs",
    "cluster": "skymetal.deploy.cli_cluster",
    "store": "skymetal.deploy.cli_store",
    "catalog": "skymetal.deploy.cli_catalog",
    "drive": "skymetal.deploy.cli_jobs",
}
"""Commands of other modules, which are loaded when one is asked for: each takes its part of a second."""


class _Group(click.Group):
    """Turns what goes wrong into one line and an exit code: 2 the user's to mend, 1 ours, 130 stopped."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*self.commands, *_ELSEWHERE]  # in the order of the work, not of the alphabet

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _ELSEWHERE:
            return super().get_command(context, name)
        command: click.Command = getattr(import_module(_ELSEWHERE[name]), name)
        return command

    def invoke(self, context: click.Context) -> Any:
        heed_interrupts()
        try:
            return super().invoke(context)
        except InputError as error:
            _stop(f"skymetal: {printable(str(error))}", code=2)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not spoil the leaving
            _stop("skymetal: stopped; the same command goes on from here", code=130)
        except BrokenPipeError:
            sys.exit(141)
        except (click.ClickException, click.exceptions.Exit, SystemExit):
            raise
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            # Our own sentences need no label; of others' errors the kind is half of what is known.
            kind = "" if isinstance(error, RuntimeError | StorageFailed) else f"{type(error).__name__}: "
            _stop("\n".join([f"skymetal: {kind}{printable(first)}", *getattr(error, "__notes__", [])]), code=1)


def _stop(text: str, *, code: int) -> None:
    click.echo(mask(text), err=True)
    sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(skymetal.__version__, prog_name="skymetal")
def main() -> None:
    """Gas-phase metallicities, 12+log(O/H), from a sky survey's galaxy images.

    Start with `skymetal demo`. Then write a job file (see the examples folder) and `skymetal run JOB`.
    Every command can be stopped at any time: the same command again goes on where it was.
    """


@main.command()
@click.option("--out", default="skymetal-demo", show_default=True, help="Run directory: a path or s3://bucket/path.")
@set_option
def demo(out: str, assignments: tuple[str, ...]) -> None:
    """The whole path on a small simulated survey, on CPUs, in minutes."""
    _run(read_job(DEMO, [f"job.run_dir={json.dumps(out, ensure_ascii=False)}", *assignments]))
    say(f"\nLook at     {out}/report.html")
    say(
        f"Query       {sys.argv[0]} catalog sql {out} 'SELECT object_id, oh_p16, oh_p50, oh_p84 FROM catalogue LIMIT 5'"
    )
    say(f"In Python   skymetal.open_catalog({out!r}).to_pandas()")


@main.command()
@job_options
def run(job: Path, assignments: tuple[str, ...]) -> None:
    """Everything that is not done yet: select, ingest, train, score, publish, evaluate, report."""
    _run(read_job(job, assignments))


def _add_step(name: str, help_text: str) -> None:
    @main.command(name=name, help=help_text)
    @job_options
    def step(job: Path, assignments: tuple[str, ...]) -> None:
        _run(read_job(job, assignments), name)


@main.command()
@click.argument("job", required=False, type=click.Path(path_type=Path))
@set_option
@click.option("--sql", is_flag=True, help="Print the query of the paper's sample, ready for SDSS CasJobs, and stop.")
def select(job: Path | None, assignments: tuple[str, ...], sql: bool) -> None:
    """Survey tables to target list; every cut counted."""
    if sql:
        click.echo(casjobs_sql())
    elif job is None:
        raise InputError("select needs a job file, or --sql to print the query of the paper's sample")
    else:
        _run(read_job(job, assignments), "select")


@main.command()
@click.option("--probe-seconds", default=30.0, show_default=True, type=click.FloatRange(0.1, 600), help="Of the trial.")
@job_options
def plan(job: Path, assignments: tuple[str, ...], probe_seconds: float) -> None:
    """What is next would take. Exit 1 where it cannot be done.

    Of ingest: shards, memory, disk, requests. Over a finished store, with an ensemble, of score: tasks, bytes, memory
    and time, from a trial on the workers.
    """
    planning = import_module("skymetal.deploy.planning")
    with open_run(read_job(job, assignments)) as run:
        forecast = planning.forecast(run, probe_seconds=probe_seconds)
    width = max(map(len, forecast.lines))
    for name, text in forecast.lines.items():
        click.echo(f"{name.ljust(width)}  {text}")
    if forecast.obstacle:
        _stop(f"skymetal: {printable(forecast.obstacle)}", code=1)


_add_step("ingest", "Images to cutout store.")
_add_step("train", "Five folds to an ensemble, with its out-of-fold table and calibration.")
_add_step("score", "Cutout store to parts, one task a shard. Always resumes.")


@main.command()
@click.option("--shards", default=3, show_default=True, type=click.IntRange(0), help="How many to score again.")
@job_options
def verify(job: Path, assignments: tuple[str, ...], shards: int) -> None:
    """A finished pass, proved: every part against its receipt, and shards drawn at random scored again."""
    proving = import_module("skymetal.deploy.proving")
    with open_run(read_job(job, assignments)) as run:
        proving.verify(run, num_shards=shards)


_add_step("publish", "Parts to catalogue.")


@main.command()
@click.argument("job_or_table", type=click.Path(path_type=Path))
@click.option("--truth", help="Column of the true 12+log(O/H), when evaluating a table.")
@click.option("--prediction", help="Column of the predicted 12+log(O/H), when evaluating a table.")
@click.option(
    "--against",
    metavar="paper|OTHER",
    help="'paper' for the published numbers; or, galaxy by galaxy, a job: another job file or run directory, "
    "a table: another of its columns, or another table.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the figures and numbers of a table.")
@set_option
def evaluate(
    job_or_table: Path,
    truth: str | None,
    prediction: str | None,
    against: str | None,
    out: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Predictions against the truth: of a job, or of any table with --truth and --prediction.

    Prints RMSE, NMAD, median bias and R² with their 95 % intervals, and the outliers (|Δ| > 0.2 dex).
    A job's figures and numbers go into its run directory.
    """
    if job_or_table.suffix == ".toml":
        if truth or prediction or out:
            raise InputError("--truth, --prediction and --out are for tables; a job has them in its run directory")
        _evaluate_job(read_job(job_or_table, assignments), against)
        return
    if not (truth and prediction):
        raise InputError("evaluating a table needs --truth COLUMN and --prediction COLUMN")
    tables = import_module("skymetal.deploy.evaluation.of_table")
    say(tables.evaluate_table(job_or_table, truth=truth, prediction=prediction, against=against, out=out))


_add_step("report", "The run as one HTML page: numbers, charts, galaxies to look at.")


def _evaluate_job(job: Job, against: str | None) -> None:
    beside = import_module("skymetal.deploy.evaluation.against")
    with open_run(job) as run:
        # Before anything is evaluated, not after.
        other = None if against in (None, PAPER) else beside.find_other_run(against)
        run_steps(run, ("evaluate",))
        if other:
            say(beside.compare_runs(run, other))
        elif against:
            say(beside.run_beside_paper(run))


def _run(job: Job, *names: str) -> None:
    """Run the named steps of a job, or all, in its run directory."""
    with open_run(job) as run:
        run_steps(run, names or tuple(STEPS))
