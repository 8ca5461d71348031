from __future__ import annotations

import os
from pathlib import Path

import dask
import psutil
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.settings import ClusterSettings


def test_gpus_that_are_asked_for_and_not_there_are_an_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    if list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    scratch = tmp_path_factory.mktemp("scratch")
    with (
        LazyCluster(ClusterSettings(kind="local-cuda"), scratch=scratch) as cluster,
        pytest.raises(InputError, match="local-cuda"),
    ):
        cluster.client()


def test_a_cluster_that_nobody_asks_for_never_starts(tmp_path_factory: pytest.TempPathFactory) -> None:
    children = len(psutil.Process().children(recursive=True))
    scratch = tmp_path_factory.mktemp("scratch")
    with LazyCluster(ClusterSettings(), scratch=scratch):
        assert dask.config.get("distributed.scheduler.allowed-failures") == 30
        assert len(psutil.Process().children(recursive=True)) == children
    assert dask.config.get("distributed.scheduler.allowed-failures") == 3
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
def test_it_starts_the_workers_it_was_asked_for_listens_on_loopback_alone_and_leaves_nothing_running(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = ClusterSettings(kind="local-cpu", num_workers=2)
    with LazyCluster(settings, scratch=tmp_path_factory.mktemp("scratch")) as cluster:
        client = cluster.client()
        assert cluster.client() is client
        client.wait_for_workers(2, timeout=60)
        pids = list(client.run(os.getpid).values())
        assert len(set(pids)) == 2
        listening = {
            connection.laddr.ip
            for pid in [psutil.Process().pid, *pids]
            for connection in psutil.Process(pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
    psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=20)
    assert not any(psutil.pid_exists(pid) for pid in pids)
