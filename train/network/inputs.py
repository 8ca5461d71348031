"""What the network is shown of a cutout: all of it, one band, or fewer pixels (the paper's comparisons)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from skymetal.catalogs.errors import InputError
from skymetal.engine.pixels import ImageSpec, Normalisation


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

    def select(self, images_NHWC: Tensor, spec: ImageSpec) -> Tensor:
        """Return the grey levels that are shown: one band in place of all, pixels averaged, where that is asked for."""
        if self.band:
            channel = spec.bands.index(self.band)
            images_NHWC = images_NHWC[..., channel : channel + 1].expand_as(images_NHWC)
        if self.resolution_pix is None:
            return images_NHWC
        factor = spec.size_pix // self.resolution_pix
        small_NCHW = functional.avg_pool2d(images_NHWC.permute(0, 3, 1, 2).float(), factor).round().to(torch.uint8)
        return small_NCHW.repeat_interleave(factor, 2).repeat_interleave(factor, 3).permute(0, 2, 3, 1)

    def apply(self, images_NHWC: Tensor, normalisation: Normalisation, spec: ImageSpec) -> Tensor:
        """Return uint8 images as normalised float32 (N, C, H, W), channels_last in memory."""
        return _normalise(self.select(images_NHWC, spec), normalisation)


def _normalise(images_NHWC: Tensor, normalisation: Normalisation) -> Tensor:
    """Return (N, C, H, W) by looking up every grey level: P pixels, the same numbers on every device."""
    table_CCL = torch.from_numpy(normalisation.table_CCL).to(images_NHWC.device)
    level_CP = [images_NHWC[..., band].reshape(-1).int() for band in range(images_NHWC.shape[-1])]
    shown_CP = []
    for table_CL, mix_C in zip(table_CCL, normalisation.matrix, strict=True):
        of_bands = [table_CL[band].index_select(0, level_CP[band]) for band, share in enumerate(mix_C) if share]
        shown_CP.append(functools.reduce(torch.add, of_bands))
    return torch.stack(shown_CP, dim=-1).view(images_NHWC.shape).permute(0, 3, 1, 2)
