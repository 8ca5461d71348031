"""A run: a job at work in its run directory, with the cluster it may start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from skymetal.catalogs.storage import Folder, open_folder
from skymetal.catalogs.targets import TargetList, open_targets
from skymetal.deploy import run_directory as names
from skymetal.deploy.cluster import LazyCluster
from skymetal.deploy.config import Job
from skymetal.deploy.run_directory import SCRATCH, RunDirectory, hold_run_directory
from skymetal.engine.store import STORE, CutoutStore, open_store


@dataclass(frozen=True, kw_only=True)
class Run:
    """A job in its run directory, with the cluster it may start."""

    job: Job
    directory: RunDirectory
    cluster: LazyCluster

    @property
    def folder(self) -> Folder:
        """The run directory's folder."""
        return self.directory.folder

    @property
    def targets(self) -> TargetList:
        """The target list; InputError where select has not run."""
        return open_targets(f"{self.folder}/{names.TARGETS}")

    @property
    def store(self) -> CutoutStore:
        """The finished cutout store; InputError where ingest has not ended."""
        return open_store(self.folder / STORE)

    @property
    def ensemble(self) -> Folder:
        """The folder of the ensemble that scores: the job's, or the one this run trains."""
        return open_folder(self.job.score.ensemble) if self.job.score.ensemble else self.folder / names.ENSEMBLE


@contextmanager
def open_run(job: Job) -> Iterator[Run]:
    """Hold the job's run directory, and have a cluster at hand that starts when it is first needed."""
    with (
        hold_run_directory(job) as directory,
        LazyCluster(job.cluster, scratch=directory.folder.on_this_machine(SCRATCH).path) as cluster,
    ):
        yield Run(job=job, directory=directory, cluster=cluster)
