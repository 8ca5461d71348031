from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import dask
import psutil
import pytest
from support import dask_processes

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
@pytest.mark.parametrize("has_tls", [False, True])
def test_it_starts_the_workers_it_was_asked_for_listens_on_loopback_alone_and_leaves_nothing_running(
    tmp_path: Path, has_tls: bool
) -> None:
    tls_dir = str(dask_processes.write_certificates(tmp_path / "tls")) if has_tls else ""
    settings = ClusterSettings(kind="local-cpu", num_workers=2, tls_dir=tls_dir)
    before = listening_ports(os.getpid())
    with LazyCluster(settings, scratch=tmp_path / "scratch") as cluster:
        client = cluster.client()
        assert cluster.client() is client
        assert not cluster.has_gpus()
        client.wait_for_workers(2, timeout=60)
        pids = client.run(os.getpid)
        assert len(set(pids.values())) == 2
        assert {urlsplit(address).scheme for address in pids} == {"tls" if has_tls else "tcp"}
        workers = client.scheduler_info(n_workers=-1)["workers"]
        nannies = {urlsplit(worker["nanny"]).port for worker in workers.values()}
        scheduler = {urlsplit(client.scheduler.address).port, urlsplit(client.dashboard_link).port}
        assert listening_ports(os.getpid()) - before == nannies | scheduler
        for address, worker in workers.items():
            assert listening_ports(pids[address]) == {urlsplit(address).port, worker["services"]["dashboard"]}
    psutil.wait_procs([psutil.Process(pid) for pid in pids.values() if psutil.pid_exists(pid)], timeout=20)
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


def listening_ports(pid: int) -> set[int]:
    """Return the ports that a process listens on, which must all be on loopback."""
    connections = dask_processes.connections(psutil.Process(pid))
    assert {connection.laddr.ip for connection in connections} <= {"127.0.0.1"}
    return {connection.laddr.port for connection in connections}
