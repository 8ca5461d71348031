from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.train.recipe import find_recipe
from skymetal.train.settings import TrainSettings


def test_settings_override_the_recipe() -> None:
    modern = find_recipe("modern")
    assert TrainSettings().resolve() == modern
    assert TrainSettings(num_epochs=3, batch_size=8).resolve() == replace(modern.lasting(3), batch_size=8)
    assert TrainSettings(num_epochs=3).resolve().num_epochs == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_folds": 1}, r"\[train\] num_folds must be 2 to 99, got 1"),
        ({"num_epochs": 0}, r"\[train\] num_epochs must be 1 to 10000, got 0"),
        ({"batch_size": 2}, r"\[train\] batch_size must be 4 to 65536, got 2"),
        ({"ranks_per_fold": -1}, r"\[train\] ranks_per_fold must be 0 to 1024, got -1"),
        ({"recipe": "moden"}, r"\[train\] recipe 'moden' is not known; did you mean 'modern'\?"),
        ({"num_folds": 2**40}, r"\[train\] num_folds must be 2 to 99"),
        ({"labels": ("object_id",)}, r"\[train\] labels must be measured quantities; object_id says who"),
        ({"labels": ()}, r"\[train\] labels must name at least one column"),
        ({"labels": ("a", "a")}, r"\[train\] labels must differ"),
        ({"init": ""}, r"\[train\] init must be 'random', 'imagenet' or a path"),
        ({"test_fraction": 0.7}, r"\[train\] test_fraction must be 0 to 0.5, got 0.7"),
        ({"test_fraction": float("nan")}, r"\[train\] test_fraction must be 0 to 0.5, got nan"),
        ({"split": "time"}, r"\[train\] split must be one of galaxy, sky, got 'time'"),
        ({"sky_order": 30}, r"\[train\] sky_order must be 0 to 12, got 30"),
        ({"resolution_pix": 7}, r"\[train\] resolution_pix must be one of 64, 32, 16, 8, 4, 2, 1, got 7"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_a_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainSettings(**values)
