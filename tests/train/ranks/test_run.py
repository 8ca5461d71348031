from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster
from safetensors.numpy import load_file
from support.tiny_training import tiny_plan

from skymetal.catalogs.storage import open_folder
from skymetal.train.data import pixels_name
from skymetal.train.plan import TrainPlan
from skymetal.train.ranks.asking import worker_hosts
from skymetal.train.ranks.run import FoldsFailed, Patience, train_folds
from skymetal.train.recipe import find_recipe
from skymetal.train.settings import TrainSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TOLERANCE = 1e-3
"""By how much weights and errors of two ranks may differ from those of one, relatively: sums in another order."""
SETTINGS = TrainSettings(num_folds=2, num_epochs=3, batch_size=16)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def undisturbed(client: Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The receipts of a training that was left in peace: they hold the digests of weights and predictions."""
    plan = tiny_plan(tmp_path_factory.mktemp("undisturbed"), SETTINGS)
    told = [(report.fold, report.epoch) for report in train_folds(plan, client)]
    assert sorted(told) == epochs(plan)
    assert ranks() == []
    return members(plan)


def epochs(plan: TrainPlan) -> list[tuple[int, int]]:
    return [(fold, epoch) for fold in range(plan.num_folds) for epoch in range(1, plan.recipe.num_epochs + 1)]


def members(plan: TrainPlan) -> dict[str, bytes]:
    return {name: (Path(plan.ensemble) / name).read_bytes() for name in open_folder(plan.ensemble).names("fold*.json")}


def ranks() -> list[psutil.Process]:
    """The rank processes that are alive on this machine, below this process."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "skymetal.train.ranks.rank" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.Error:
            continue
    return found


def disturb(plan: TrainPlan, client: Client, disturbance: Callable[[], None], patience: Patience) -> list[int]:
    """Train, disturb once after the first epoch, and return the epochs told of each fold."""
    told = []
    for report in train_folds(plan, client, patience=patience):
        told.append((report.fold, report.epoch))
        if len(told) == 1:
            disturbance()
    assert sorted(told) == epochs(plan)
    return [len([fold for fold, _ in told if fold == f]) for f in range(plan.num_folds)]


def kill_a_rank() -> None:
    ranks()[0].kill()


def freeze_a_rank() -> None:
    ranks()[0].send_signal(signal.SIGSTOP)


def test_all_that_is_trained_is_told_as_it_ends_and_a_second_call_has_nothing_to_do(
    client: Client, tmp_path: Path
) -> None:
    plan = tiny_plan(tmp_path, replace(SETTINGS, num_epochs=2))
    told = []
    for report in train_folds(plan, client):
        if not told:
            assert not members(plan), "an epoch is told when it ends, not when its fold does"
        told.append((report.fold, report.epoch))
    assert sorted(told) == epochs(plan)
    assert list(members(plan)) == ["fold0.json", "fold1.json"]
    assert not (Path(plan.checkpoints) / pixels_name(plan)).exists()
    assert list(train_folds(plan, client)) == []


@pytest.mark.parametrize("disturbance", [kill_a_rank, freeze_a_rank])
def test_a_rank_that_dies_or_hangs_costs_no_more_than_its_epoch(
    client: Client, undisturbed: dict[str, bytes], tmp_path: Path, disturbance: Callable[[], None]
) -> None:
    plan = tiny_plan(tmp_path, SETTINGS)
    disturb(plan, client, disturbance, Patience(silence_seconds=25))
    assert members(plan) == undisturbed
    assert ranks() == []


def test_a_worker_that_dies_takes_its_rank_with_it_and_the_fold_goes_on_elsewhere(
    client: Client, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    plan = tiny_plan(tmp_path, SETTINGS)
    orphans: list[psutil.Process] = []

    def kill_a_worker() -> None:
        orphans.extend(ranks())
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    disturb(plan, client, kill_a_worker, Patience())
    assert members(plan) == undisturbed
    _, alive = psutil.wait_procs(orphans, timeout=10)
    assert alive == []


def test_a_gang_of_two_whose_one_rank_is_killed_begins_again_together(client: Client, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, replace(SETTINGS, ranks_per_fold=2))
    disturb(plan, client, lambda: ranks()[-1].kill(), Patience(silence_seconds=60))
    assert list(members(plan)) == ["fold0.json", "fold1.json"]
    assert ranks() == []


def test_two_ranks_train_what_one_does(client: Client, tmp_path: Path) -> None:
    # SGD, since AdamW makes a step of full length of a gradient that is nothing but rounding.
    recipe = find_recipe("modern").lasting(2)
    (phase,) = recipe.phases
    gentle = replace(recipe, batch_size=16, optimiser="sgd", phases=(replace(phase, group_lr=(0.02, 0.02, 0.02)),))
    trained = {}
    for number in (1, 2):
        plan = replace(tiny_plan(tmp_path / str(number), replace(SETTINGS, ranks_per_fold=number)), recipe=gentle)
        reports = {(r.fold, r.epoch): (r.train_rmse, r.held_out_rmse) for r in train_folds(plan, client)}
        weights = {path.name[:5]: load_file(path) for path in Path(plan.ensemble).glob("*.safetensors")}
        trained[number] = reports, weights
    for at, errors in trained[1][0].items():
        assert errors == pytest.approx(trained[2][0][at], rel=TOLERANCE)
    for fold, tensors in trained[1][1].items():
        for name, tensor in tensors.items():
            scale = np.abs(tensor).max() + 1e-2
            assert np.abs(tensor - trained[2][1][fold][name]).max() < TOLERANCE * scale, (fold, name)


def test_a_fold_that_fails_for_good_is_named_after_the_others_have_ended(client: Client, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, SETTINGS)
    open_folder(plan.checkpoints).write("fold1.pt", b"not a checkpoint")
    with pytest.raises(FoldsFailed, match=r"1 of 2 folds failed, the first is fold 1: the checkpoint"):
        list(train_folds(plan, client))
    assert list(members(plan)) == ["fold0.json"]
    assert ranks() == []


def test_a_scheduler_that_cannot_be_asked_for_a_moment_costs_nothing(
    client: Client, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, answers = tiny_plan(tmp_path, SETTINGS), iter(range(10_000))
    most = 0

    def sometimes(client: Client) -> dict[str, str] | None:
        return None if next(answers) % 3 == 2 else worker_hosts(client)

    monkeypatch.setattr("skymetal.train.ranks.run.worker_hosts", sometimes)
    for _ in train_folds(plan, client):
        most = max(most, len(ranks()))
    assert most <= 2, "no fold was begun twice"
    assert members(plan) == undisturbed


def test_a_training_that_is_given_up_leaves_no_rank_behind(client: Client, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, replace(SETTINGS, num_epochs=50))
    training = train_folds(plan, client)
    next(training)
    left = ranks()
    assert left
    training.close()
    _, alive = psutil.wait_procs(left, timeout=10)
    assert alive == []


def test_a_cluster_without_workers_is_not_waited_for_without_end(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    begun = time.monotonic()
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster, Client(cluster) as client:
        assert worker_hosts(client) == {}
        with pytest.raises(FoldsFailed, match="no worker for 1 s"):
            list(train_folds(plan, client, patience=Patience(no_worker_seconds=1)))
    assert time.monotonic() - begun < 60
