"""The schedule: what a recipe prescribes for a step, as a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from skymetal.train.recipe import Phase, Ramp, Recipe

_ROUNDING = 1e-9
"""A step that falls on the border of two ramps, but for rounding, belongs to the later one."""


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """One step's settings: the rate of each layer group, the momentum, and which part of the network learns.

    starts_phase is true for the first step of a phase: the optimiser forgets what it has gathered.
    """

    group_lr: tuple[float, float, float]
    momentum: float
    trains: str
    starts_phase: bool


def step_settings(recipe: Recipe, step: int, *, steps_per_epoch: int) -> StepSettings:
    """Return the settings of step ``step``, counted from 0 over all epochs."""
    phase, begun = _phase_at(recipe, step / steps_per_epoch)
    epoch = step / steps_per_epoch - begun
    ramp, position = _ramp_at(phase, epoch)
    start, end = ramp.lr
    fraction = phase.cold_lr if epoch < phase.cold_epochs - _ROUNDING else _between(start, end, position, ramp.shape)
    first, last = ramp.momentum or (recipe.momentum, recipe.momentum)
    low, middle, head = phase.group_lr
    return StepSettings(
        group_lr=(fraction * low, fraction * middle, fraction * head),
        momentum=_between(first, last, position, ramp.shape),
        trains=phase.trains,
        starts_phase=step == math.ceil(begun * steps_per_epoch - _ROUNDING),
    )


def _phase_at(recipe: Recipe, epoch: float) -> tuple[Phase, float]:
    begun = 0.0
    for phase in recipe.phases[:-1]:
        if epoch < begun + phase.num_epochs - _ROUNDING:
            return phase, begun
        begun += phase.num_epochs
    return recipe.phases[-1], begun


def _ramp_at(phase: Phase, epoch: float) -> tuple[Ramp, float]:
    """Return the ramp and how far into it ``epoch`` is, 0 … 1."""
    begun = 0.0
    for ramp in phase.ramps[:-1]:
        if epoch < begun + ramp.num_epochs - _ROUNDING:
            return ramp, max(0.0, (epoch - begun) / ramp.num_epochs)
        begun += ramp.num_epochs
    return phase.ramps[-1], min(1.0, max(0.0, (epoch - begun) / phase.ramps[-1].num_epochs))


def _between(start: float, end: float, position: float, shape: str) -> float:
    if shape == "cosine":
        position = (1 - math.cos(math.pi * position)) / 2
    return start + (end - start) * position
