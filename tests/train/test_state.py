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
