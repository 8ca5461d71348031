from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from support.tiny_training import tiny_plan

from skymetal.catalogs.storage import Folder
from skymetal.train.plan import TrainPlan
from skymetal.train.run import FoldsFailed, train_folds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def epochs(plan: TrainPlan) -> list[tuple[int, int]]:
    return [(fold, epoch) for fold in range(plan.num_folds) for epoch in (1, 2)]


def members(plan: TrainPlan) -> dict[str, bytes]:
    return {name: (plan.ensemble / name).read_bytes() for name in Folder(plan.ensemble).names("fold*.json")}


def test_every_epoch_of_every_fold_is_told_once_and_a_second_call_has_nothing_to_do(
    client: Client, tmp_path: Path
) -> None:
    plan = tiny_plan(tmp_path)
    told = []
    for report in train_folds(plan, client):
        if not told:
            assert not members(plan), "an epoch is told when it ends, not when its fold does"
        told.append((report.fold, report.epoch))
    assert sorted(told) == epochs(plan)
    assert list(members(plan)) == ["fold0.json", "fold1.json"]
    assert list(train_folds(plan, client)) == []


def test_a_fold_whose_worker_dies_goes_on_from_its_checkpoint(client: Client, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    told = []
    for report in train_folds(plan, client):
        told.append((report.fold, report.epoch))
        if len(told) == 1:
            (worker,) = client.run(os.getpid).values()
            threading.Timer(0.0, os.kill, (worker, signal.SIGKILL)).start()
    assert sorted(told) == epochs(plan)
    assert list(members(plan)) == ["fold0.json", "fold1.json"]


def test_a_fold_that_fails_is_named_after_the_others_have_ended(client: Client, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    Folder(plan.checkpoints).write("fold1.pt", b"not a checkpoint")
    with pytest.raises(FoldsFailed, match=r"1 of 2 folds failed, the first is fold 1: RuntimeError: the checkpoint"):
        list(train_folds(plan, client))
    assert list(members(plan)) == ["fold0.json"]


def test_a_cluster_without_workers_is_not_waited_for_without_end(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
        pytest.raises(FoldsFailed, match="no worker for 1 s"),
    ):
        list(train_folds(plan, client, patience_seconds=1))
