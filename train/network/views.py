"""The views of an image: itself, flipped and turned, the eight ways a square maps onto itself; or the paper's five."""

from __future__ import annotations

from functools import lru_cache

import google_crc32c
import torch
from torch import Tensor

from skymetal.engine.pixels import Normalisation
from skymetal.train.network.augment import Draw, augment, draw
from skymetal.train.recipe import Augmentation

# (quarter turns, mirrored), ordered so that 1, 2, 4 and 8 views are each a group: no direction is preferred.
VIEWS = ((0, False), (2, False), (0, True), (2, True), (1, False), (3, False), (1, True), (3, True))
PAPER_VIEWS = 5
"""The plain image and four random draws of the training's augmentation (Wu & Boada 2019)."""


def make_views(
    images_NCHW: Tensor,
    num_views: int,
    pixels_NHWC: Tensor,
    augmentation: Augmentation,
    normalisation: Normalisation,
) -> Tensor:
    """Return (N, V, C, H, W), V = num_views: every image in its views, itself the first; but of five, channels_last.

    Five views are random, and the draw of a galaxy is a function of its own stored pixels: whatever the galaxies
    beside it, its views are the same.
    """
    if num_views == PAPER_VIEWS:
        return _random_views(images_NCHW, pixels_NHWC, augmentation, normalisation)
    pixels_NPC = images_NCHW.permute(0, 2, 3, 1).flatten(1, 2)
    places_VHW = _places(num_views, images_NCHW.shape[2], images_NCHW.device)
    views_NVHWC: Tensor = pixels_NPC.index_select(1, places_VHW.flatten()).unflatten(1, places_VHW.shape)
    return views_NVHWC.permute(0, 1, 4, 2, 3)


@lru_cache(maxsize=8)
def _places(num_views: int, size_pix: int, device: torch.device) -> Tensor:
    """Return (V, H, W): which pixel of an image, row by row, each view shows at each place."""
    with torch.inference_mode(mode=False):  # kept for whoever asks next
        places_HW = torch.arange(size_pix**2, dtype=torch.int32, device=device).view(size_pix, size_pix)
        turned = [(torch.rot90(places_HW, turns), mirrored) for turns, mirrored in VIEWS[:num_views]]
        return torch.stack([view.flip(1) if mirrored else view for view, mirrored in turned])


def _random_views(
    images_NCHW: Tensor, pixels_NHWC: Tensor, augmentation: Augmentation, normalisation: Normalisation
) -> Tensor:
    num_random = PAPER_VIEWS - 1
    draws = []
    for pixels_HWC in pixels_NHWC.cpu().numpy():
        generator = torch.Generator().manual_seed(google_crc32c.value(pixels_HWC.tobytes()))
        draws.append(draw(num_random, augmentation, generator))
    drawn = Draw(
        matrix_N23=torch.cat([d.matrix_N23 for d in draws]),
        contrast_N=torch.cat([d.contrast_N for d in draws]),
        brightness_N=torch.cat([d.brightness_N for d in draws]),
    )
    repeated = images_NCHW.repeat_interleave(num_random, dim=0)
    random_NVCHW = augment(repeated, drawn, normalisation).unflatten(0, (-1, num_random))
    return torch.cat([images_NCHW[:, None], random_NVCHW], dim=1)
