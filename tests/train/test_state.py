from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.tiny_training import tiny_plan

from skymetal.catalogs.storage import Folder
from skymetal.train.state import remove_checkpoint, restore_checkpoint, start_training, write_checkpoint

CPU = torch.device("cpu")


def test_the_start_depends_on_seed_and_fold_alone(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    first = start_training(plan, 0, CPU).network.conv1.weight
    torch.randn(3)
    assert torch.equal(start_training(plan, 0, CPU).network.conv1.weight, first)
    assert not torch.equal(start_training(plan, 1, CPU).network.conv1.weight, first)
    assert not torch.equal(start_training(replace(plan, seed=2), 0, CPU).network.conv1.weight, first)


def test_the_average_moves_part_of_the_way_and_takes_the_norms_statistics_along(tmp_path: Path) -> None:
    state = start_training(tiny_plan(tmp_path), 0, CPU)
    before = state.averaged.conv1.weight.clone()
    with torch.no_grad():
        state.network.conv1.weight += 1
        state.network.bn1.running_mean.fill_(4.0)  # type: ignore[union-attr]
    state.average(decay=0.75)
    assert torch.allclose(state.averaged.conv1.weight, before + 0.25)
    assert torch.allclose(state.averaged.bn1.running_mean, torch.ones(64))  # type: ignore[arg-type]


def test_another_plans_checkpoint_is_ignored_and_a_damaged_one_named(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    state = start_training(plan, 0, CPU)
    state.history.append((0.3, 0.2))
    write_checkpoint(plan, 0, state)

    fresh, other = start_training(plan, 0, CPU), start_training(replace(plan, seed=2), 0, CPU)
    restore_checkpoint(plan, 0, fresh)
    restore_checkpoint(replace(plan, seed=2), 0, other)
    restore_checkpoint(plan, 1, other)
    assert fresh.history == [(0.3, 0.2)]
    assert other.history == []

    checkpoints = Folder(plan.checkpoints)
    checkpoints.write("fold0.pt", checkpoints.read("fold0.pt")[:-1000])
    with pytest.raises(RuntimeError, match=r"fold0\.pt is damaged; delete it"):
        restore_checkpoint(plan, 0, fresh)
    remove_checkpoint(plan, 0)
    remove_checkpoint(plan, 0)
    assert checkpoints.names("*") == []
