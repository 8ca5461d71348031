"""What the pixels of a cutout mean, and the one definition of how they are normalised for a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skymetal.catalogs.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
    """Mean and standard deviation a band, of pixels scaled to 0 … 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def shift_and_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return (shift, scale) a band such that ``normalised = uint8_pixel * scale + shift``."""
        scale = tuple(1.0 / (255.0 * std) for std in self.std)
        shift = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        return shift, scale


IMAGENET = Normalisation(mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _show(value: Any) -> str:
    return "".join(value) if isinstance(value, tuple) else repr(value)
