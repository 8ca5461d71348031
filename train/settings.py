"""The job file's ``[train]`` section."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from skymetal.catalogs.errors import InputError
from skymetal.train.recipe import DEFAULT_RECIPE, Recipe, find_recipe

RANDOM_INIT = "random"
IMAGENET_INIT = "imagenet"
SPLITS = ("galaxy", "sky")
_BOUNDS = (("num_folds", 2, 99), ("num_epochs", 1, 10_000), ("batch_size", 4, 65_536), ("ranks_per_fold", 0, 1024))
_NO_LABELS = ("object_id", "fold", "group_id", "ra", "dec", "_healpix_29")
RESOLUTIONS = (64, 32, 16, 8, 4, 2, 1)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The job file's ``[train]`` section.

    num_epochs and batch_size, where given, override the recipe's. init is where the weights begin: ``random``,
    ``imagenet``, a torchvision resnet34 file, or the file of a member of another ensemble. A test_fraction of the
    labelled galaxies is kept from every member. split ``sky`` keeps pixels of HEALPix order sky_order whole: a member
    is judged by a part of the sky it never saw. ranks_per_fold processes train each member together; 0 spreads
    idle workers over the folds that are left. band and resolution_pix, where given, show the network less than there
    is: one band, or images of so many pixels a side.
    """

    recipe: str = DEFAULT_RECIPE
    num_folds: int = 5
    labels: tuple[str, ...] = ("oh_p50",)
    init: str = field(default=RANDOM_INIT, metadata={"path": True, "words": (RANDOM_INIT, IMAGENET_INIT)})
    num_epochs: int | None = None
    batch_size: int | None = None
    test_fraction: float = 0.0
    split: str = "galaxy"
    sky_order: int = 5
    ranks_per_fold: int = 1
    band: str = ""
    resolution_pix: int | None = None

    def __post_init__(self) -> None:
        find_recipe(self.recipe)
        for name, minimum, maximum in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not minimum <= value <= maximum:
                raise InputError(f"[train] {name} must be {minimum} to {maximum}, got {value}")
        if not self.labels:
            raise InputError("[train] labels must name at least one column of the target list, got none")
        if len(set(self.labels)) != len(self.labels):
            raise InputError(f"[train] labels must differ from each other, got {', '.join(self.labels)}")
        for name in self.labels:
            if name in _NO_LABELS:
                raise InputError(f"[train] labels must be measured quantities; {name} says who or where a galaxy is")
        if not self.init:
            raise InputError(f"[train] init must be {RANDOM_INIT!r}, {IMAGENET_INIT!r} or a path, got ''")
        if not 0 <= self.test_fraction <= 0.5:
            raise InputError(f"[train] test_fraction must be 0 to 0.5, got {self.test_fraction:g}")
        if self.split not in SPLITS:
            raise InputError(f"[train] split must be one of {', '.join(SPLITS)}, got {self.split!r}")
        if not 0 <= self.sky_order <= 12:
            raise InputError(f"[train] sky_order must be 0 to 12, got {self.sky_order}")
        if self.resolution_pix is not None and self.resolution_pix not in RESOLUTIONS:
            words = ", ".join(map(str, RESOLUTIONS))
            raise InputError(f"[train] resolution_pix must be one of {words}, got {self.resolution_pix}")

    def resolve(self) -> Recipe:
        """Return the recipe with this section's overrides applied."""
        recipe = find_recipe(self.recipe)
        if self.num_epochs is not None:
            recipe = recipe.lasting(self.num_epochs)
        return recipe if self.batch_size is None else replace(recipe, batch_size=self.batch_size)
