"""What the pixels of a cutout mean, and the one definition of how they are normalised for a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NUM_LEVELS = 256


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """What a network must know of a cutout to be right about it. A store and an ensemble each carry one.

    bands are in channel order: an SDSS colour JPEG's R, G, B are *i, r, g*. stretch says how light became pixels;
    ``flux`` means not at all, and then dtype is ``float32``. size_rule says how large a piece of sky the cutout
    shows: ``petro5`` is a box of 5.05 × petroR90_r (Wu & Boada 2019), or a scale such as ``0.262 arcsec/pixel``.
    """

    survey: str
    bands: tuple[str, ...]
    size_pix: int
    stretch: str
    size_rule: str
    dtype: str = "uint8"

    @property
    def frame(self) -> tuple[int, int, int]:
        """The shape of one cutout, (H, W, C)."""
        return (self.size_pix, self.size_pix, len(self.bands))

    @property
    def cutout_bytes(self) -> int:
        """The size of one cutout in memory."""
        return int(np.prod(self.frame)) * np.dtype(self.dtype).itemsize

    def refuse_unless_same(self, other: ImageSpec, *, ours: str, theirs: str) -> None:
        """Raise InputError, naming the first difference, where the two are not alike."""
        for name in ("bands", "size_pix", "dtype", "stretch", "size_rule", "survey"):
            mine, their = getattr(self, name), getattr(other, name)
            if mine != their:
                raise InputError(
                    f"{ours} has {name} = {_show(mine)}, but {theirs} has {name} = {_show(their)}: "
                    "its predictions would be silently wrong; use an ensemble trained on images like these"
                )


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What a network is shown of a pixel: ``matrix @ (curve(grey level) - mean)``, C bands.

    The curve is level / 255 or, with a softening in grey levels, log(1 + level / softening).
    """

    mean: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    softening: float = 0.0

    @classmethod
    def scaling(cls, mean: Sequence[float], std: Sequence[float]) -> Normalisation:
        """Return the usual one: each band by its own mean and standard deviation, of pixels scaled to 0 … 1."""
        matrix = np.diag(1.0 / np.array(std))
        return cls(mean=tuple(mean), matrix=tuple(map(tuple, matrix.tolist())))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Normalisation:
        """Return the normalisation of plain values, as :func:`dataclasses.asdict`, JSON or TOML give them."""
        matrix = tuple(tuple(row) for row in values["matrix"])
        return cls(mean=tuple(values["mean"]), matrix=matrix, softening=values["softening"])

    def __post_init__(self) -> None:
        rows = [self.mean, *self.matrix]
        if len(self.matrix) != len(self.mean) or any(len(row) != len(self.mean) for row in rows):
            raise ValueError(f"a normalisation needs a mean and a row of the matrix a band, got {self}")
        if not np.isfinite(rows).all() or not np.any(self.matrix, axis=1).all():
            raise ValueError(f"a normalisation needs finite numbers and no row of zeros, got {self}")
        if not 0 <= self.softening < np.inf:
            raise ValueError(f"a normalisation's softening is 0 or more, got {self.softening}")

    @cached_property
    def table_CCL(self) -> NDArray[np.float32]:  # noqa: N802
        """What each of L grey levels of each band adds to each channel, (C, C, L): a channel is the sum over bands."""
        centred_CL = level_curve(self.softening) - np.array(self.mean)[:, None]
        return np.asarray(np.array(self.matrix)[:, :, None] * centred_CL, dtype=np.float32)


def level_curve(softening: float) -> NDArray[np.float64]:
    """Return the curve's value of each grey level, (L,)."""
    level = np.arange(float(NUM_LEVELS))
    return np.log1p(level / softening) if softening else level / 255


IMAGENET = Normalisation.scaling(IMAGENET_MEAN, IMAGENET_STD)


def _show(value: Any) -> str:
    return "".join(value) if isinstance(value, tuple) else repr(value)
