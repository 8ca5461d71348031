from __future__ import annotations

from dataclasses import replace

import torch

from skymetal.train.augment import augment
from skymetal.train.recipe import MODERN
from skymetal.train.views import make_views

STILL = replace(MODERN, max_zoom=0.0, max_rotation_deg=0.0, max_shift=0.0)


def test_without_zoom_rotation_and_shift_every_image_is_one_of_its_eight_views() -> None:
    images = torch.rand(64, 2, 6, 6)
    moved = augment(images, STILL, torch.Generator().manual_seed(0))
    distance = (make_views(images, 8) - moved[:, None]).abs().amax((2, 3, 4))
    assert float(distance.min(dim=1).values.max()) < 1e-5
    assert set(distance.argmin(dim=1).tolist()) == set(range(8))


def test_the_same_generator_state_gives_the_same_bytes() -> None:
    images = torch.rand(8, 3, 16, 16)
    first, again = (augment(images, MODERN, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(images, MODERN, torch.Generator().manual_seed(6)))


def test_beyond_the_edge_the_image_is_mirrored_and_no_brightness_is_made_up() -> None:
    wild = replace(MODERN, max_zoom=0.5, max_rotation_deg=45.0, max_shift=0.3)
    flat = torch.full((32, 3, 12, 12), 0.7)
    moved = augment(flat, wild, torch.Generator().manual_seed(1))
    assert torch.allclose(moved, flat, atol=1e-5)
