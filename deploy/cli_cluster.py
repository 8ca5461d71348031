"""The command line's ``skymetal cluster …``: is a cluster fit for a night's work, and certificates to guard it."""

from __future__ import annotations

import shlex
import sys
import uuid
from importlib import import_module
from pathlib import Path

import click

from skymetal.catalogs.errors import InputError, printable
from skymetal.catalogs.storage import open_folder
from skymetal.deploy.cli_options import job_options
from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.security import CA, CERTIFICATE, KEY, ClusterUnusable
from skymetal.deploy.clusters.survey import Survey, survey_cluster
from skymetal.deploy.clusters.verdict import describe_verdict, judge, table
from skymetal.deploy.config import Job, read_job
from skymetal.deploy.console import format_table


@click.group()
def cluster() -> None:
    """The cluster that a job's [cluster] names: check it, and make certificates for it."""


@cluster.command()
@job_options
def check(job: Path, assignments: tuple[str, ...]) -> None:
    """Is the cluster fit for the job? Exit 0 yes, 1 no.

    Versions, devices, the run directory seen from every worker, disk, clocks, connections, certificates.
    """
    wanted = read_job(job, assignments)
    try:
        survey = _survey(wanted)
    except (ClusterUnusable, InputError) as error:
        click.echo(f"bad: {printable(str(error))}")
        _conclude("bad: there is no cluster to use", code=1)
    findings = judge(survey)
    click.echo(format_table(*table(survey)))
    click.echo()
    for finding in findings:
        click.echo(f"{'bad' if finding.is_bad else 'note'}: {printable(finding.text)}")
    _conclude(describe_verdict(survey, findings), code=int(any(finding.is_bad for finding in findings)))


def _survey(job: Job) -> Survey:
    """Start or reach the cluster and ask it; what that needs in the run directory is in a folder that goes again."""
    run_dir = open_folder(job.job.run_dir)
    place = run_dir / f".check-{uuid.uuid4().hex[:8]}"
    run_dir.check()
    try:
        place.mark("began")
    except OSError as error:
        raise InputError(f"[job] run_dir {run_dir} cannot be written ({error.strerror})") from error
    try:
        with LazyCluster(job.cluster, scratch=place.on_this_machine("scratch").path) as lazy:
            return survey_cluster(
                lazy.reach(),
                place,
                run_dir=str(run_dir),
                needs_gpus=job.cluster.gpus or job.cluster.kind == "local-cuda",
                free_bytes=run_dir.free_bytes(),
            )
    finally:
        run_dir.remove_folder(place.name)
        place.on_this_machine("").remove_folder("")


def _conclude(verdict: str, *, code: int) -> None:
    click.echo(f"cluster check: {verdict}")
    sys.exit(code)


@cluster.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="A host's name or address; give each its own.")
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 3650), help="How long they are valid.")
def certs(out: Path, hosts: tuple[str, ...], days: int) -> None:
    """Certificates for mutual TLS: an authority and one certificate for client, scheduler and workers, in OUT."""
    try:
        making = import_module("skymetal.deploy.clusters.certs")
    except ImportError as error:
        raise InputError(f"making certificates needs cryptography ({error}); pip install 'skymetal[tls]'") from error
    ends = making.write_certificates(out, hosts=[*making.own_names(), *hosts], days=days)
    folder = out.absolute()
    options = " ".join(
        f"--tls-{name} {shlex.quote(str(folder / file))}"
        for name, file in (("ca-file", CA), ("cert", CERTIFICATE), ("key", KEY))
    )
    click.echo(
        f"""{folder}: {CA}, {CERTIFICATE} and {KEY}, valid until {ends:%Y-%m-%d}, readable by you alone.

Whoever has {KEY} can run code on the cluster. Copy the folder, by scp or onto a disk that only you can read,
to every machine of the cluster and to the one where you run skymetal, at the same path.

Scheduler:  dask scheduler --protocol tls --port 8786 {options} --dashboard-address 127.0.0.1:8787
Workers:    dask worker tls://HOST:8786 {options} --dashboard-address 127.0.0.1:0 --memory-limit 0
with GPUs:  dask cuda worker tls://HOST:8786 {options} --dashboard-address 127.0.0.1:0 --memory-limit 0

[cluster]
kind = "address"
address = "tls://HOST:8786"
tls_dir = "{folder}"

where HOST is the scheduler's machine. Then: skymetal cluster check JOB"""
    )
