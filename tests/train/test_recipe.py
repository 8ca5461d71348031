from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.train.recipe import MODERN, TrainSettings, learning_rate


def test_the_learning_rate_goes_up_once_and_down_to_nothing() -> None:
    recipe = replace(MODERN, max_lr=1.0, warmup_fraction=0.25)
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    top = rates.index(max(rates))
    assert rates[top] == 1.0
    assert top == 24
    assert rates[:25] == sorted(rates[:25])
    assert rates[24:] == sorted(rates[24:], reverse=True)
    assert 0 < rates[-1] < 0.001
    assert rates[0] < 0.05


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_a_very_short_training_has_a_learning_rate(num_steps: int) -> None:
    assert all(0 < learning_rate(MODERN, step, num_steps) <= MODERN.max_lr for step in range(num_steps))


def test_settings_override_the_recipe() -> None:
    assert TrainSettings().resolve() == MODERN
    assert TrainSettings(num_epochs=3, batch_size=8).resolve() == replace(MODERN, num_epochs=3, batch_size=8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_folds": 1}, r"\[train\] num_folds must be at least 2, got 1"),
        ({"num_epochs": 0}, r"\[train\] num_epochs must be at least 1, got 0"),
        ({"batch_size": 2}, r"\[train\] batch_size must be at least 4, got 2"),
        ({"recipe": "moden"}, r"\[train\] recipe 'moden' is not known; did you mean 'modern'\?"),
        ({"recipe": "x"}, r"\[train\] recipe 'x' is not known; there is modern"),
        ({"labels": ()}, r"\[train\] labels must name at least one column"),
        ({"labels": ("a", "a")}, r"\[train\] labels must differ"),
        ({"init": ""}, r"\[train\] init must be 'random' or the path"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_a_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainSettings(**values)
