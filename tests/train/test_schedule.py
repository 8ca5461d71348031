from __future__ import annotations

import math
from dataclasses import replace

import pytest

from skymetal.train.recipe import find_recipe, recipe_names
from skymetal.train.schedule import StepSettings, step_settings

STEPS = 40
"""Steps an epoch: a multiple of 4, so that the ramps of every recipe begin on a step."""


def trace(name: str) -> list[StepSettings]:
    recipe = find_recipe(name)
    return [step_settings(recipe, step, steps_per_epoch=STEPS) for step in range(recipe.num_epochs * STEPS)]


def restarts(step: int) -> float:
    """fastai 0.7's CosAnneal with cycles of 1, 2 and 4 epochs."""
    for length in (STEPS, 2 * STEPS, 4 * STEPS):
        if step < length:
            return (1 + math.cos(math.pi * step / length)) / 2
        step -= length
    raise AssertionError(step)


def cycle(step: int) -> tuple[float, float]:
    """fastai 0.7's CircularLR_beta with div 10, pct 15, over 70 epochs: rate as a fraction of the top, and momentum."""
    half, total = round(29.75 * STEPS), 70 * STEPS
    if step >= 2 * half:
        done = (step - 2 * half) / (total - 2 * half)
        return (1 - 0.99 * done) / 10, 0.95
    up = step / half if step < half else 2 - step / half
    return (1 + 9 * up) / 10, 0.95 - 0.1 * up


@pytest.mark.parametrize(("name", "rates"), [("as_written", (1e-3, 1e-2, 1e-1)), ("as_run", (0.1, 0.1, 0.1))])
def test_the_papers_schedules_follow_their_closed_form_at_every_step(name: str, rates: tuple[float, ...]) -> None:
    for step, settings in enumerate(trace(name)):
        epoch = step / STEPS
        assert settings.momentum == 0.9
        assert settings.trains == ("head" if epoch < 2 else "all")
        assert settings.starts_phase == (step in (0, 2 * STEPS, 3 * STEPS))
        if epoch < 2:
            wanted: tuple[float, ...] = (0, 0, 0.1)
        elif epoch < 3:
            wanted = rates
        else:
            is_cold = name == "as_run" and step - 3 * STEPS < STEPS / 20
            wanted = tuple(rate * (0.01 if is_cold else restarts(step - 3 * STEPS)) for rate in rates)
        assert settings.group_lr == pytest.approx(wanted, abs=1e-12)


def test_the_super_convergent_schedule_follows_its_closed_form_at_every_step() -> None:
    settings = trace("super_convergent")
    for step, at in enumerate(settings):
        fraction, momentum = cycle(step)
        assert at.group_lr == pytest.approx((1e-3 * fraction, 1e-2 * fraction, 1e-1 * fraction), abs=1e-12)
        assert at.momentum == pytest.approx(momentum, abs=1e-12)
        assert at.trains == "all"
    top = settings[round(29.75 * STEPS)]
    assert top.group_lr[2] == pytest.approx(0.1)
    assert top.momentum == pytest.approx(0.85)


@pytest.mark.parametrize("name", ["modern", "fine_tune"])
def test_our_schedules_are_a_cosine_up_and_a_cosine_down(name: str) -> None:
    recipe = find_recipe(name)
    up, down = (ramp.num_epochs * STEPS for ramp in recipe.phases[0].ramps)
    for step, at in enumerate(trace(name)):
        if step < up:
            wanted = 0.04 + 0.96 * (1 - math.cos(math.pi * step / up)) / 2
        else:
            wanted = (1 + math.cos(math.pi * (step - up) / down)) / 2
        assert at.group_lr == pytest.approx([rate * wanted for rate in recipe.phases[0].group_lr], abs=1e-12)


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("steps_per_epoch", [1, 3, 7])
def test_a_stretched_recipe_has_the_same_shape_and_every_phase_starts_once(name: str, steps_per_epoch: int) -> None:
    recipe = find_recipe(name)
    longer = recipe.lasting(recipe.num_epochs * 3)
    assert longer.num_epochs == recipe.num_epochs * 3
    starts = 0
    for step in range(longer.num_epochs * steps_per_epoch):
        at = step_settings(longer, step, steps_per_epoch=steps_per_epoch)
        starts += at.starts_phase
        if step % 3 == 0 and recipe.phases[-1].cold_epochs == 0:
            short = step_settings(recipe, step // 3, steps_per_epoch=steps_per_epoch)
            assert at.group_lr == pytest.approx(short.group_lr)
            assert replace(at, group_lr=short.group_lr, momentum=short.momentum) == short
    assert starts == len(recipe.phases)
