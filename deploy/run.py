"""A run: a job at work in its run directory, with the cluster it may start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from distributed import Client

from skymetal.catalogs.storage import Folder, open_folder
from skymetal.catalogs.targets import TargetList, open_targets
from skymetal.deploy import run_directory as names
from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.deploy.config import Job
from skymetal.deploy.run_directory import Origin, RunDirectory, hold_run_directory
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

    def client(self) -> Client:
        """Return the cluster's client, starting or connecting at the first call; watchers are told of its dashboard."""
        client = self.cluster.client()
        if find_spec("bokeh") is not None:  # without it Dask serves no pages
            self.directory.heartbeat.update(dashboard=client.dashboard_link or "")
        return client


@contextmanager
def open_run(job: Job, origin: Origin | None = None, *, cluster: ClusterSettings | None = None) -> Iterator[Run]:
    """Hold the job's run directory, and have a cluster at hand that starts when it is first needed.

    A runner that has a cluster already gives it in place of the job's own.
    """
    with (
        hold_run_directory(job, origin) as directory,
        LazyCluster(cluster or job.cluster, scratch=directory.scratch) as lazy,
    ):
        yield Run(job=job, directory=directory, cluster=lazy)
