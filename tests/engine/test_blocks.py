from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from distributed import Client, Scheduler
from support import brightness, dask_processes

from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.engine import blocks
from skymetal.engine.blocks import BlocksFailed, map_over_blocks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = ClusterSettings(kind="local-cpu", num_workers=2)
    with LazyCluster(settings, scratch=tmp_path_factory.mktemp("scratch")) as cluster:
        yield cluster.client()


def test_every_index_gives_one_receipt(client: Client) -> None:
    assert sorted(map_over_blocks(brightness.square, [3, 1, 40], client)) == [1, 9, 1600]
    assert list(map_over_blocks(brightness.square, [], client)) == []


def test_a_block_is_one_task(client: Client, tmp_path: Path) -> None:
    def num_tasks(dask_scheduler: Scheduler) -> int:
        return len(dask_scheduler.tasks)

    deadline = time.monotonic() + 60
    while client.run_on_scheduler(num_tasks) and time.monotonic() < deadline:  # the passes of other tests
        time.sleep(0.05)
    receipts = map_over_blocks(partial(brightness.leave_a_trace_slowly, str(tmp_path)), range(30), client)
    next(receipts)
    assert 20 < client.run_on_scheduler(num_tasks) <= 30
    assert len(list(receipts)) == 29


def test_more_blocks_than_a_wave_are_all_done(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "WAVE_SIZE", 7)
    assert sorted(map_over_blocks(brightness.square, range(30), client)) == [k * k for k in range(30)]


def test_failed_blocks_are_named_after_all_others_are_done(client: Client) -> None:
    done: list[int] = []
    with pytest.raises(BlocksFailed, match="3 of 7 blocks failed, the first is block 1: ValueError: 1 is odd"):
        done.extend(map_over_blocks(brightness.fail_on_odd, range(7), client))
    assert sorted(done) == [0, 2, 4, 6]


def test_a_task_that_leaves_the_interpreter_does_not_take_the_worker_with_it(client: Client) -> None:
    with pytest.raises(BlocksFailed, match="1 of 5 blocks failed, the first is block 3: SystemExit: 7"):
        list(map_over_blocks(brightness.leave_on_three, range(5), client))


def test_a_killed_worker_costs_no_block(client: Client, tmp_path: Path) -> None:
    task = partial(brightness.die_once, str(tmp_path))
    assert sorted(set(map_over_blocks(task, range(12), client))) == list(range(12))
    assert (tmp_path / "died").exists()


def test_a_block_that_kills_every_worker_ends_the_pass_by_name(client: Client) -> None:
    client.run_on_scheduler(_allow_failures, number=2)
    done: list[int] = []
    with pytest.raises(BlocksFailed, match=r"[123] of 6 blocks failed, .*KilledWorker"):
        done.extend(map_over_blocks(brightness.always_die_on_two, range(6), client))
    # A block that was on the same workers may be blamed with it; the culprit is never let through.
    assert 2 not in done
    assert len(done) >= 3


def test_a_pass_that_is_given_up_is_not_gone_on_with(client: Client, tmp_path: Path) -> None:
    receipts = map_over_blocks(partial(brightness.leave_a_trace_slowly, str(tmp_path)), range(200), client)
    next(receipts)
    receipts.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 60
    while any(client.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(map_over_blocks(brightness.square, [5], client)) == [25]
    assert len(list(tmp_path.iterdir())) < 100  # those that were at work end their block


def test_a_block_whose_receipt_is_lost_and_then_its_workers_ends_the_pass_by_name(
    client: Client, tmp_path: Path
) -> None:
    client.run_on_scheduler(_allow_failures, number=0)
    done: list[object] = []
    with pytest.raises(BlocksFailed, match=r"of 6 blocks failed, the first is block 0: KilledWorker"):
        done.extend(map_over_blocks(partial(brightness.deadly_to_send, str(tmp_path)), range(6), client))
    assert 0 not in done
    assert len(done) == len(set(done)) >= 1  # those that were on the same worker may be blamed with it


@pytest.mark.timeout(120)
def test_a_scheduler_that_dies_while_a_receipt_is_on_its_way_costs_no_block(tmp_path: Path) -> None:
    with dask_processes.processes(tmp_path / "cluster", tls_dir=None, num_workers=1) as cluster:

        def die() -> None:
            deadline = time.monotonic() + 60
            while not (tmp_path / "0").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(1)  # the block is done, the receipt is being gathered
            cluster.running[0].kill()
            cluster.start_scheduler()
            cluster.start_worker()

        with Client(cluster.address, timeout=60) as client, ThreadPoolExecutor() as pool:
            death = pool.submit(die)
            receipts = list(map_over_blocks(partial(brightness.slow_to_send, str(tmp_path)), range(2), client))
            death.result()
    assert sorted(receipt.index for receipt in receipts) == [0, 1]


def _allow_failures(dask_scheduler: Scheduler, number: int) -> None:
    dask_scheduler.allowed_failures = number
