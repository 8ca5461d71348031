"""Augmentation: each image of a batch turned, mirrored, zoomed and shifted by its own draw, in one resampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from skymetal.train.recipe import Recipe


def augment(images_NCHW: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Return the images under one random draw each; beyond the edge the image is mirrored.

    No brightness or colour is touched: they are the signal. The draw is made on the CPU, so a seed means the
    same on every device.
    """
    matrix_N23 = _draw(len(images_NCHW), recipe, generator).to(images_NCHW.device)
    grid = functional.affine_grid(matrix_N23, list(images_NCHW.shape), align_corners=False)
    return functional.grid_sample(images_NCHW, grid, padding_mode="reflection", align_corners=False)


def _draw(num_images: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    uniform_4N = torch.rand(4, num_images, generator=generator) * 2 - 1
    state_N = torch.randint(8, (num_images,), generator=generator)
    angle = uniform_4N[0] * math.radians(recipe.max_rotation_deg) + (state_N % 4) * (math.pi / 2)
    mirror = 1.0 - 2.0 * (state_N // 4)
    scale = torch.exp(uniform_4N[1] * math.log1p(recipe.max_zoom))
    # A shift of 2 crosses the whole image in grid_sample's units.
    shift_2N = uniform_4N[2:4] * 2 * recipe.max_shift
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack([cos * mirror, -sin, shift_2N[0], sin * mirror, cos, shift_2N[1]], dim=1)
    return rows.view(num_images, 2, 3)
