"""What training does, as values: recipes, the schedule, and the job file's ``[train]`` section."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from skymetal.catalogs.errors import InputError, did_you_mean

RANDOM_INIT = "random"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one member is trained: AdamW on the Huber loss of standardised labels, one cycle of the learning rate.

    Every image is drawn anew each epoch: one of eight dihedral states, then zoom, rotation and shift, each
    uniform within ± its maximum.
    """

    name: str
    num_epochs: int
    batch_size: int
    max_lr: float
    weight_decay: float
    warmup_fraction: float
    max_zoom: float
    max_rotation_deg: float
    max_shift: float


MODERN = Recipe(
    name="modern",
    num_epochs=12,
    batch_size=32,
    max_lr=2e-3,
    weight_decay=0.05,
    warmup_fraction=0.25,
    max_zoom=0.1,
    max_rotation_deg=10.0,
    max_shift=0.03,
)
RECIPES = (MODERN,)


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name; raise InputError that suggests one where there is none."""
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    raise InputError(f"[train] recipe {name!r} is not known; {did_you_mean(name, [r.name for r in RECIPES])}")


def learning_rate(recipe: Recipe, step: int, num_steps: int) -> float:
    """Return the learning rate of step ``step`` of ``num_steps``: a cosine up to max_lr, a cosine down to 0."""
    num_up = max(1, round(recipe.warmup_fraction * num_steps))
    if step < num_up:
        done = (step + 1) / num_up
        start = recipe.max_lr / 25
        return start + (recipe.max_lr - start) * (1 - math.cos(math.pi * done)) / 2
    left = (num_steps - step) / (num_steps - num_up + 1)
    return recipe.max_lr * (1 - math.cos(math.pi * left)) / 2


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The job file's ``[train]`` section. num_epochs and batch_size, where given, override the recipe's."""

    recipe: str = MODERN.name
    num_folds: int = 5
    labels: tuple[str, ...] = ("oh_p50",)
    init: str = RANDOM_INIT
    num_epochs: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        find_recipe(self.recipe)
        for name, minimum in (("num_folds", 2), ("num_epochs", 1), ("batch_size", 4)):
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise InputError(f"[train] {name} must be at least {minimum}, got {value}")
        if not self.labels:
            raise InputError("[train] labels must name at least one column of the target list, got none")
        if len(set(self.labels)) != len(self.labels):
            raise InputError(f"[train] labels must differ from each other, got {', '.join(self.labels)}")
        if not self.init:
            raise InputError(f"[train] init must be {RANDOM_INIT!r} or the path of a torchvision resnet34 file, got ''")

    def resolve(self) -> Recipe:
        """Return the recipe with this section's overrides applied."""
        recipe = find_recipe(self.recipe)
        return replace(
            recipe,
            num_epochs=recipe.num_epochs if self.num_epochs is None else self.num_epochs,
            batch_size=recipe.batch_size if self.batch_size is None else self.batch_size,
        )
