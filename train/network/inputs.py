"""What the network is shown of a cutout: all of it, one band, or fewer pixels (the paper's comparisons)."""

from __future__ import annotations

from dataclasses import dataclass

from skymetal.catalogs.errors import InputError
from skymetal.engine.pixels import ImageSpec


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """How a stored cutout becomes the network's input. It travels with the ensemble, and holds in training and use.

    band, where given, takes every channel's place, and each channel is normalised as if it were its own.
    resolution_pix, where given, is to how many pixels a side the image is averaged before it is enlarged again to its
    own size: detail is lost, the frame is kept.
    """

    band: str = ""
    resolution_pix: int | None = None

    def check(self, spec: ImageSpec) -> None:
        """Raise InputError where such cutouts do not have the band, or not the pixels."""
        if self.band and self.band not in spec.bands:
            raise InputError(f"[train] band = {self.band!r} is none of the images' bands, {', '.join(spec.bands)}")
        if self.resolution_pix is not None and (
            self.resolution_pix >= spec.size_pix or spec.size_pix % self.resolution_pix
        ):
            raise InputError(
                f"[train] resolution_pix = {self.resolution_pix} must be smaller than the images' {spec.size_pix} "
                "pixels and divide them evenly"
            )
