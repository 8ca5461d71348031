"""Recipes: how one member is trained, as data. Each is a small TOML file in ``recipes/``.

A recipe is a few phases, each a few ramps of the learning rate: :mod:`skymetal.train.schedule` reads them step by step.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skymetal.catalogs.errors import InputError, did_you_mean

RECIPE_FOLDER = Path(__file__).with_name("recipes")
DEFAULT_RECIPE = "modern"
LOSSES = ("huber", "rmse")
OPTIMISERS = ("adamw", "sgd")
SCALED, WHITENED = PIXELS = ("scaled", "whitened")
NUM_GROUPS = 3


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """A stretch of training in which the rate goes from one value to another.

    lr is (start, end) as fractions of each group's rate; momentum (start, end), left out, is the recipe's. shape is
    ``linear`` or ``cosine``: half a cosine wave from start to end.
    """

    num_epochs: float
    lr: tuple[float, float]
    shape: str
    momentum: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.num_epochs > 0 or self.shape not in ("linear", "cosine") or min(self.lr) < 0:
            raise ValueError(f"a ramp needs num_epochs > 0, lr ≥ 0 and shape linear or cosine, got {self}")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Ramps that one optimiser goes through; the next phase begins with a fresh one.

    trains is ``all``, or ``head`` while the trunk is frozen and its batch norms keep their statistics. group_lr are
    the rates of the three layer groups: stem to layer2, layer3 and layer4, head. The first cold_epochs run at
    cold_lr of the rate, whatever the ramp says.
    """

    trains: str
    group_lr: tuple[float, float, float]
    ramps: tuple[Ramp, ...]
    cold_epochs: float = 0.0
    cold_lr: float = 1.0

    def __post_init__(self) -> None:
        if self.trains not in ("all", "head") or len(self.group_lr) != NUM_GROUPS or not self.ramps:
            raise ValueError(f"a phase needs trains all or head, three rates and a ramp, got {self}")

    @property
    def num_epochs(self) -> float:
        """How long the phase lasts."""
        return sum(ramp.num_epochs for ramp in self.ramps)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One random draw an image an epoch; on top of it each image is put into one of eight dihedral states.

    zoom is a range, drawn with its probability, above 1 magnifying; a magnified image is cropped at random. The
    rotation is within ± rotation_deg, the shift within ± shift of the image's side, brightness is added, contrast
    multiplied around the image's mean, both within ±, on pixels of 0 … 1.
    """

    zoom: tuple[float, float] = (1.0, 1.0)
    zoom_probability: float = 1.0
    rotation_deg: float = 0.0
    rotation_probability: float = 1.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    @property
    def changes_light(self) -> bool:
        """Whether grey levels change, not only where they are."""
        return bool(self.brightness or self.contrast)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one member is trained.

    loss ``rmse`` is the root mean square over a mini-batch and all labels together, in the labels' own unit;
    ``huber`` is taken of standardised labels. pixels are ``scaled``, each band by its own mean and spread, or
    ``whitened`` (:mod:`skymetal.train.normalisation`). AdamW decays weights alone, SGD every parameter. A network that
    starts_as_mean predicts the mean label before its first step, and each of its blocks begins as its shortcut.
    """

    name: str
    batch_size: int
    pixels: str
    loss: str
    optimiser: str
    momentum: float
    weight_decay: float
    dropout: tuple[float, float]
    starts_as_mean: bool
    augmentation: Augmentation
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        if self.loss not in LOSSES or self.optimiser not in OPTIMISERS:
            raise ValueError(f"recipe {self.name}: loss is one of {LOSSES}, optimiser one of {OPTIMISERS}")
        if self.pixels not in PIXELS or (self.pixels != SCALED and self.augmentation.changes_light):
            raise ValueError(
                f"recipe {self.name}: pixels is one of {PIXELS}, and scaled where brightness or contrast is changed"
            )
        if not math.isclose(sum(phase.num_epochs for phase in self.phases), self.num_epochs, abs_tol=1e-6):
            raise ValueError(f"recipe {self.name}: its phases must add up to whole epochs")

    @property
    def num_epochs(self) -> int:
        """How many epochs all phases last together."""
        return round(sum(phase.num_epochs for phase in self.phases))

    def lasting(self, num_epochs: int) -> Recipe:
        """Return the recipe with every ramp stretched alike, so that all of them last ``num_epochs``."""
        factor = num_epochs / sum(phase.num_epochs for phase in self.phases)

        def stretched(ramp: Ramp) -> Ramp:
            return dataclasses.replace(ramp, num_epochs=ramp.num_epochs * factor)

        phases = [dataclasses.replace(p, ramps=tuple(map(stretched, p.ramps))) for p in self.phases]
        return dataclasses.replace(self, phases=tuple(phases))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe of plain values, as :func:`dataclasses.asdict` or a TOML file gives them."""
        phases = tuple(_phase(phase) for phase in values["phases"])
        augmentation = Augmentation(**_tuples(values["augmentation"]))
        return cls(**_tuples(values) | {"phases": phases, "augmentation": augmentation})


def recipe_names() -> list[str]:
    """Return the names of all recipes."""
    return sorted(path.stem for path in RECIPE_FOLDER.glob("*.toml"))


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name; raise InputError that suggests one where there is none."""
    names = recipe_names()
    if name not in names:
        raise InputError(f"[train] recipe {name!r} is not known; {did_you_mean(name, names)}")
    return Recipe.from_dict({"name": name} | tomllib.loads((RECIPE_FOLDER / f"{name}.toml").read_text("utf-8")))


def _phase(values: Mapping[str, Any]) -> Phase:
    return Phase(**_tuples(values) | {"ramps": tuple(Ramp(**_tuples(ramp)) for ramp in values["ramps"])})


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
