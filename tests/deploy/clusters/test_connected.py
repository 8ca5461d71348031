"""Clusters that somebody else started: real schedulers and workers, over mutual TLS on loopback."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client
from support import brightness, dask_processes
from support.dask_processes import Processes

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.capacity import Capacity
from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.security import ClusterUnusable
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.engine.blocks import BlocksFailed, map_over_blocks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SOON = 0.02  # minutes


@pytest.fixture(scope="module")
def tls_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dask_processes.write_certificates(tmp_path_factory.mktemp("tls") / "tls")


@pytest.fixture(scope="module")
def other_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dask_processes.write_certificates(tmp_path_factory.mktemp("other") / "tls")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, tls_dir: Path) -> Iterator[Processes]:
    with dask_processes.processes(tmp_path_factory.mktemp("guarded"), tls_dir=tls_dir, num_workers=2) as started:
        yield started


def by_address(cluster: Processes, **changes: object) -> ClusterSettings:
    values = {"address": cluster.address, "tls_dir": str(cluster.tls_dir or ""), "start_timeout_min": 0.5} | changes
    return ClusterSettings(kind="address", **values)  # type: ignore[arg-type]


def test_a_cluster_is_used_by_address_or_file_and_outlives_its_users(guarded: Processes, tmp_path: Path) -> None:
    by_file = ClusterSettings(
        kind="scheduler-file", scheduler_file=str(guarded.scheduler_file), tls_dir=str(guarded.tls_dir), num_workers=2
    )
    for settings in (by_address(guarded), by_file):
        with LazyCluster(settings, scratch=tmp_path) as lazy:
            assert sorted(map_over_blocks(brightness.square, range(5), lazy.client())) == [0, 1, 4, 9, 16]
            assert not lazy.has_gpus()
            assert lazy.all_workers(gc.isenabled)
            assert not lazy.all_workers(sys.is_finalizing)
            assert lazy.capacity() == Capacity(num_threads=2, memory_bytes=psutil.virtual_memory().total)
    assert all(process.poll() is None for process in guarded.running)


def test_it_listens_on_loopback_alone_dashboards_included(guarded: Processes) -> None:
    listening = [dask_processes.connections(each) for p in guarded.running for each in dask_processes.family(p.pid)]
    assert {each.laddr.ip for those in listening for each in those} == {"127.0.0.1"}
    # The scheduler and its dashboard; a worker without a nanny, and its.
    assert [len(those) for those in listening] == [2, 2, 2]
    assert guarded.port in {each.laddr.port for each in listening[0]}


def test_a_client_of_another_authority_or_without_tls_is_refused(guarded: Processes, other_dir: Path) -> None:
    refused = {
        r"its certificate is not accepted: another authority": by_address(guarded, tls_dir=str(other_dir)),
        r"says nothing; is it a Dask scheduler": by_address(
            guarded, tls_dir="", address=f"tcp://127.0.0.1:{guarded.port}", start_timeout_min=SOON
        ),
    }
    for words, settings in refused.items():
        with LazyCluster(settings, scratch=other_dir) as lazy, pytest.raises(ClusterUnusable, match=words):
            lazy.client()


def test_a_worker_of_another_authority_or_without_tls_never_gets_in(guarded: Processes, other_dir: Path) -> None:
    intruders = [guarded.start_worker(tls_dir=other_dir)]
    address, guarded.tls_dir = guarded.tls_dir, None
    try:
        intruders.append(guarded.start_worker())  # plain tcp
    finally:
        guarded.tls_dir = address
    time.sleep(6)
    with Client(guarded.address, security=dask_processes.security(address), timeout=30) as client:
        assert len(client.scheduler_info()["workers"]) == 2
    for intruder in intruders:
        intruder.kill()
        intruder.wait(timeout=10)
    guarded.running = guarded.running[:3]


def test_garbage_and_callers_who_say_nothing_do_the_scheduler_no_harm(guarded: Processes, tmp_path: Path) -> None:
    idle = [socket.create_connection(("127.0.0.1", guarded.port), timeout=10) for _ in range(200)]
    for content in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 100, b"\x16\x03\x01\xff\xff" + b"\0" * 1000):
        with socket.create_connection(("127.0.0.1", guarded.port), timeout=10) as connection:
            connection.sendall(content)
    with LazyCluster(by_address(guarded), scratch=tmp_path) as lazy:
        assert sorted(map_over_blocks(brightness.square, range(3), lazy.client())) == [0, 1, 4]
    for connection in idle:
        connection.close()


def test_gpus_that_the_workers_lack_are_refused(guarded: Processes, tmp_path: Path) -> None:
    with (
        LazyCluster(by_address(guarded, gpus=True), scratch=tmp_path) as lazy,
        pytest.raises(ClusterUnusable, match="gpus = true, but 2 of 2 workers have no GPU, the first is tls://"),
    ):
        lazy.client()


def test_waits_end(guarded: Processes, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    nobody = by_address(guarded, address=f"tls://127.0.0.1:{port}", start_timeout_min=SOON)
    too_few = by_address(guarded, num_workers=3, start_timeout_min=SOON)
    no_file = ClusterSettings(kind="scheduler-file", scheduler_file=str(tmp_path / "none.json"), start_timeout_min=SOON)
    for settings, words in (
        (nobody, rf"address tls://127.0.0.1:{port}: connection refused, after 1.2 s"),
        (too_few, "the cluster: 2 of 3 workers are there, after 1.2 s"),
        (no_file, "none.json: the scheduler has not written it, after 1.2 s"),
    ):
        with LazyCluster(settings, scratch=tmp_path) as lazy, pytest.raises(ClusterUnusable, match=words):
            lazy.client()


@pytest.mark.parametrize("content", ["[]", '{"address": 3}', '{"id": "x"}'])
def test_a_file_that_no_scheduler_wrote_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text(content)
    settings = ClusterSettings(kind="scheduler-file", scheduler_file=str(tmp_path / "file.json"))
    with LazyCluster(settings, scratch=tmp_path) as lazy, pytest.raises(InputError, match="names no address"):
        lazy.client()


def test_a_file_that_names_a_plain_scheduler_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text('{"address": "tcp://10.0.0.7:8786"}')
    settings = ClusterSettings(kind="scheduler-file", scheduler_file=str(tmp_path / "file.json"))
    with LazyCluster(settings, scratch=tmp_path) as lazy, pytest.raises(InputError, match=r"named in .* plain tcp://"):
        lazy.client()


def test_a_pass_outlives_its_scheduler_that_comes_back_and_not_one_that_does_not(tmp_path: Path) -> None:
    with dask_processes.processes(tmp_path, tls_dir=None, num_workers=1) as cluster:

        def restart() -> None:
            time.sleep(1)
            cluster.running[0].kill()
            cluster.start_scheduler()
            cluster.start_worker()

        with LazyCluster(by_address(cluster), scratch=tmp_path) as lazy:
            client = lazy.client()
            disturber = threading.Thread(target=restart)
            disturber.start()
            assert sorted(set(map_over_blocks(brightness.echo_slowly, range(40), client))) == list(range(40))
            disturber.join(timeout=60)
        with LazyCluster(by_address(cluster, start_timeout_min=SOON), scratch=tmp_path) as lazy:
            blocks = map_over_blocks(brightness.echo_slowly, range(4000), lazy.client())
            next(blocks)
            cluster.close()
            with pytest.raises(BlocksFailed, match="the scheduler is gone and did not come back in time"):
                list(blocks)
