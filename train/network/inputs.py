"""What the network is shown of a cutout: all of it, one band, or fewer pixels (the paper's comparisons)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from skymetal.catalogs.errors import InputError
from skymetal.engine.pixels import ImageSpec, Normalisation


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """How a stored cutout becomes the network's input. It travels with the ensemble, and holds in training and use.

    band, where given, takes every channel's place. resolution_pix, where given, is to how many pixels a side the
    image is averaged before it is enlarged again to its own size: detail is lost, the frame is kept.
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

    def normalisation_shown(self, normalisation: Normalisation, spec: ImageSpec) -> Normalisation:
        """Return the scale of each channel of what :meth:`apply` returns: one band's is that band's in all of them."""
        if not self.band:
            return normalisation
        channel, number = spec.bands.index(self.band), len(spec.bands)
        return Normalisation(mean=(normalisation.mean[channel],) * number, std=(normalisation.std[channel],) * number)

    def apply(self, images_NHWC: Tensor, normalisation: Normalisation, spec: ImageSpec) -> Tensor:
        """Return uint8 images as normalised float32 (N, C, H, W), channels_last in memory."""
        shift, scale = (torch.tensor(v, device=images_NHWC.device) for v in normalisation.shift_and_scale())
        images_NCHW = (images_NHWC.to(torch.float32) * scale + shift).permute(0, 3, 1, 2)
        if self.band:
            channel = spec.bands.index(self.band)
            images_NCHW = images_NCHW[:, channel : channel + 1].expand_as(images_NCHW)
        if self.resolution_pix is not None:
            factor = spec.size_pix // self.resolution_pix
            small = functional.avg_pool2d(images_NCHW, factor)
            images_NCHW = functional.interpolate(small, scale_factor=factor, mode="nearest")
        return images_NCHW
