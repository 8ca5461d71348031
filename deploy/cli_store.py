"""The command line's ``skymetal store …``: looking over the images of a run, and making lost ones again."""

from __future__ import annotations

import csv
import sys
from importlib import import_module
from pathlib import Path

import click

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.kept import refuse_damaged_list
from skymetal.catalogs.storage import Folder, local_path, open_folder
from skymetal.catalogs.targets import TargetList
from skymetal.deploy.config import read_job
from skymetal.deploy.console import format_table, say, track
from skymetal.deploy.run import open_run
from skymetal.deploy.run_directory import TARGETS
from skymetal.deploy.steps import STEPS, run_steps
from skymetal.engine.store import STORE, CutoutStore, open_store
from skymetal.engine.summary import summarise_store
from skymetal.engine.verify import Damage, open_damaged_store, put_back, set_aside, verify

MAX_IDS_SHOWN = 3


@click.group()
def store() -> None:
    """Look into a cutout store. PATH is a run directory, or the store in it."""


@store.command()
@click.argument("path")
def info(path: str) -> None:
    """What is in a store: galaxies stored and quarantined, flags, pixels, size on disk."""
    opened = open_store(_store_folder(path))
    rows = [[name, value] for name, value in summarise_store(opened).items()]
    width = max(len(name) for name, _ in rows)
    click.echo(f"cutout store {opened.folder}\n")
    for name, value in rows:
        click.echo(f"{name.ljust(width)}  {value}")


@store.command(name="verify")
@click.argument("path")
@click.option("--format", "form", type=click.Choice(["table", "csv"]), default="table", show_default=True)
def verify_command(path: str, form: str) -> None:
    """Read every byte of a store and check it; exit 1 and name files and galaxies where any is lost or damaged."""
    targets = _targets(path)
    opened = open_damaged_store(_store_folder(path), targets)
    damages = _look_over(opened, targets)
    if form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(["object_id", "file", "what"])
        writer.writerows((each, damage.file, damage.what) for damage in damages for each in damage.object_id or [""])
    elif damages:
        click.echo(
            format_table(
                ["file", "what", "galaxies", "object_id"],
                [[d.file, d.what, str(len(d.object_id)), _some(d.object_id)] for d in damages],
            )
        )
    if damages:
        lost = {each for damage in damages for each in damage.object_id}
        click.echo(
            f"store: {len(damages)} of {opened.folder}'s files are lost or damaged, with {len(lost)} galaxies; "
            f"`skymetal store repair` ingests them again",
            err=True,
        )
        sys.exit(1)
    if not opened.is_finished:
        click.echo(
            f"store: {len(opened.done_blocks())} of {opened.num_blocks} shards are there, and what they hold is whole; "
            "the store is not finished: run `skymetal ingest`",
            err=True,
        )
        sys.exit(1)
    click.echo("store: every galaxy's image is as it was ingested", err=form == "csv")


@store.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
def repair(run_dir: Path) -> None:
    """Ingest what is lost or damaged again, and nothing else; RUN_DIR holds the job that made the store."""
    local_path(open_folder(run_dir), what="repair")
    if not (run_dir / "job.toml").is_file():
        raise InputError(f"{run_dir} is no run directory: it has no job.toml, which says where the images come from")
    job = read_job(run_dir / "job.toml", [f"job.run_dir={run_dir.absolute()}"])
    ingesting = import_module(STEPS["ingest"])
    with open_run(job) as run:
        opened = ingesting.claim_ingest(run).store
        put_back(opened)  # of a repair that was killed
        damages = _look_over(opened, run.targets)
        for damage in damages:
            say(f"repair: {damage.file} ({damage.what})")
        with set_aside(opened, damages):
            run_steps(run, ["ingest"])


def _look_over(opened: CutoutStore, targets: TargetList | None) -> list[Damage]:
    found: list[Damage] = []
    looked_at = verify(opened, targets)
    for _, damages in track(
        looked_at, title="verify", total=opened.num_targets, unit="galaxies", amount=lambda item: item[0]
    ):
        found += damages
    return found


def _store_folder(path: str) -> Folder:
    if Path(path).is_file():
        raise InputError(f"{path} is a file; name a run directory, or the store in it")
    folder = open_folder(path)
    if folder.find_size(STORE) is not None:
        raise InputError(f"{folder}/{STORE} is no folder, but the cutout store has its place there; move it away")
    return folder / STORE if folder.exists(STORE) else folder


def _targets(path: str) -> TargetList | None:
    """Return the target list beside a store: it names galaxies whose receipts are lost."""
    beside = _store_folder(path).parent
    if beside.find_size(TARGETS) is None:
        return None
    targets = TargetList(beside, TARGETS)
    refuse_damaged_list(targets)
    return targets


def _some(object_id: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, object_id[:MAX_IDS_SHOWN]))
    return f"{shown}, …" if len(object_id) > MAX_IDS_SHOWN else shown
