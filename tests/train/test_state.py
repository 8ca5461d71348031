from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.tiny_training import tiny_plan

from skymetal.catalogs.storage import open_folder
from skymetal.train.schedule import StepSettings
from skymetal.train.settings import TrainSettings
from skymetal.train.state import (
    apply_settings,
    remove_checkpoint,
    restore_checkpoint,
    start_training,
    write_checkpoint,
)

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

    checkpoints = open_folder(plan.checkpoints)
    whole = checkpoints.read("fold0.pt")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (whole[:-1000], b"", bytes(flipped)):
        checkpoints.write("fold0.pt", damaged)
        with pytest.raises(RuntimeError, match=r"fold0\.pt is damaged; delete it"):
            restore_checkpoint(plan, 0, fresh)
    with pytest.raises(RuntimeError, match=r"fold0\.pt is damaged; delete it"):
        restore_checkpoint(plan, 0, fresh)
    remove_checkpoint(plan, 0)
    remove_checkpoint(plan, 0)
    assert checkpoints.names("*") == []


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny_plan(tmp_path)
    state = start_training(plan, 0, CPU)
    state.history.append((0.3, 0.2))
    write_checkpoint(plan, 0, state)
    state.history.append((0.2, 0.1))

    def no_room(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(RuntimeError, match=r"fold0\.pt cannot be written \(No space left on device\): make room"):
        write_checkpoint(plan, 0, state)
    monkeypatch.undo()
    fresh = start_training(plan, 0, CPU)
    restore_checkpoint(plan, 0, fresh)
    assert fresh.history == [(0.3, 0.2)]
    assert open_folder(plan.checkpoints).names("*") == ["fold0.pt"]


def test_an_optimiser_forgets_at_the_start_of_a_phase_and_takes_the_rate_of_each_group(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, TrainSettings(num_folds=2, recipe="as_written"))
    state = start_training(plan, 0, CPU)
    state.network.train_part("all")
    for parameter in state.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = state.network.conv1.weight.detach().clone(), state.network.head[6].bias.detach().clone()
    settings = StepSettings(group_lr=(0.1, 0.2, 0.3), momentum=0.9, trains="all", starts_phase=False)
    apply_settings(state, settings)
    state.optimiser.step()
    assert torch.allclose(before[0] - state.network.conv1.weight, torch.tensor(0.1))
    assert torch.allclose(before[1] - state.network.head[6].bias, torch.tensor(0.3))
    assert state.optimiser.state
    apply_settings(state, replace(settings, starts_phase=True))
    assert not state.optimiser.state
