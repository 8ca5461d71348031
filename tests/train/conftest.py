from __future__ import annotations

import pytest
import torch
from support.tiny_training import tiny_plan

from skymetal.train.data import gather_pixels
from skymetal.train.fold import fit_fold
from skymetal.train.plan import TrainPlan


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainPlan:
    """Two members, each trained for two epochs without a break. Tests must leave its folders as they are."""
    torch.set_num_threads(1)
    plan = tiny_plan(tmp_path_factory.mktemp("trained"))
    gather_pixels(plan)
    for fold in range(plan.num_folds):
        fit_fold(plan, fold)
    return plan
