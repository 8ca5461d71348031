"""Augmentation: each image of a batch lit, turned, mirrored, zoomed and shifted by its own draw, in one resampling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from skymetal.engine.pixels import Normalisation
from skymetal.train.recipe import Augmentation


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What is done to each of N images: where each output pixel is taken from, and the light. Made on the CPU, so
    that a seed means the same on every device, and for a whole batch, so that it means the same for any number of
    ranks.
    """

    matrix_N23: Tensor
    contrast_N: Tensor
    brightness_N: Tensor

    def part(self, rows: slice) -> Draw:
        """Return the draws of some of the images."""
        return Draw(
            matrix_N23=self.matrix_N23[rows], contrast_N=self.contrast_N[rows], brightness_N=self.brightness_N[rows]
        )


def draw(num_images: int, augmentation: Augmentation, generator: torch.Generator) -> Draw:
    """Draw for each image one of eight dihedral states, and zoom, rotation, shift and light around it."""
    a = augmentation
    uniform_7N = torch.rand(7, num_images, generator=generator)
    signed_7N = uniform_7N * 2 - 1
    occurs_2N = torch.rand(2, num_images, generator=generator)
    state_N = torch.randint(8, (num_images,), generator=generator)

    turns_N = (occurs_2N[0] < a.rotation_probability) * signed_7N[0] * math.radians(a.rotation_deg)
    angle_N = turns_N + (state_N % 4) * (math.pi / 2)
    mirror_N = 1.0 - 2.0 * (state_N // 4)
    zoom_N = torch.where(
        occurs_2N[1] < a.zoom_probability, a.zoom[0] + uniform_7N[1] * (a.zoom[1] - a.zoom[0]), torch.ones(num_images)
    )
    # 2 crosses the whole image in grid_sample's units. What a zoom cuts off is drawn too: a random crop.
    spare_N = (1 - 1 / zoom_N).clamp(min=0)
    shift_2N = signed_7N[2:4] * 2 * a.shift + signed_7N[4:6] * spare_N
    cos_N, sin_N = torch.cos(angle_N) / zoom_N, torch.sin(angle_N) / zoom_N
    rows = torch.stack([cos_N * mirror_N, -sin_N, shift_2N[0], sin_N * mirror_N, cos_N, shift_2N[1]], dim=1)

    light_2N = torch.rand(2, num_images, generator=generator) * 2 - 1
    contrast_N = 1 + light_2N[0] * a.contrast
    return Draw(matrix_N23=rows.view(num_images, 2, 3), contrast_N=contrast_N, brightness_N=light_2N[1] * a.brightness)


def augment(images_NCHW: Tensor, drawn: Draw, normalisation: Normalisation) -> Tensor:
    """Return normalised images, each under its draw; beyond the edge the image is mirrored."""
    device = images_NCHW.device
    grid = functional.affine_grid(drawn.matrix_N23.to(device), list(images_NCHW.shape), align_corners=False)
    moved_NCHW = functional.grid_sample(images_NCHW, grid, padding_mode="reflection", align_corners=False)
    if bool((drawn.contrast_N == 1).all()) and not bool(drawn.brightness_N.any()):
        return moved_NCHW
    return _light(moved_NCHW, drawn, normalisation)


def _light(images_NCHW: Tensor, drawn: Draw, normalisation: Normalisation) -> Tensor:
    """Change contrast around each image's mean, and brightness, on the scale of 0 … 1 and within it."""
    device = images_NCHW.device
    std_C = 1 / np.diag(normalisation.matrix)  # light is changed only where bands are but scaled: Recipe sees to it
    mean, std = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in (normalisation.mean, std_C.tolist()))
    contrast, brightness = (v.to(device).view(-1, 1, 1, 1) for v in (drawn.contrast_N, drawn.brightness_N))
    pixels = images_NCHW * std + mean
    centre = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return (((pixels - centre) * contrast + centre + brightness).clamp(0, 1) - mean) / std
