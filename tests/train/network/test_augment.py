from __future__ import annotations

import pytest
import torch
from support.tiny_training import SPEC

from skymetal.engine.pixels import IMAGENET, IMAGENET_MEAN, IMAGENET_STD
from skymetal.train.network.augment import augment, draw
from skymetal.train.network.views import make_views
from skymetal.train.recipe import Augmentation, find_recipe

MODERN = find_recipe("modern").augmentation
STILL = Augmentation()


def moved(images: torch.Tensor, augmentation: Augmentation, seed: int) -> torch.Tensor:
    return augment(images, draw(len(images), augmentation, torch.Generator().manual_seed(seed)), IMAGENET)


def test_without_zoom_rotation_and_shift_every_image_is_one_of_its_eight_views() -> None:
    images = torch.rand(64, 3, 6, 6)
    views = make_views(images, 8, images, STILL, IMAGENET)
    distance = (views - moved(images, STILL, 0)[:, None]).abs().amax((2, 3, 4))
    assert float(distance.min(dim=1).values.max()) < 1e-5
    assert set(distance.argmin(dim=1).tolist()) == set(range(8))


def test_the_same_generator_state_gives_the_same_bytes() -> None:
    images = torch.rand(8, 3, 16, 16)
    assert torch.equal(moved(images, MODERN, 5), moved(images, MODERN, 5))
    assert not torch.equal(moved(images, MODERN, 5), moved(images, MODERN, 6))


def test_ranks_that_share_a_batch_draw_what_one_would_alone() -> None:
    images = torch.rand(8, 3, 16, 16)
    drawn = draw(8, MODERN, torch.Generator().manual_seed(5))
    halves = [augment(images[rows], drawn.part(rows), IMAGENET) for rows in (slice(0, 5), slice(5, 8))]
    assert torch.allclose(torch.cat(halves), augment(images, drawn, IMAGENET), atol=1e-6)


def test_beyond_the_edge_the_image_is_mirrored_and_no_brightness_is_made_up() -> None:
    wild = Augmentation(zoom=(0.6, 1.5), rotation_deg=45.0, shift=0.3)
    flat = torch.full((32, 3, 12, 12), 0.7)
    assert torch.allclose(moved(flat, wild, 1), flat, atol=1e-5)


def test_zoom_magnifies_and_crops_within_the_image() -> None:
    drawn = draw(500, Augmentation(zoom=(2.0, 2.0)), torch.Generator().manual_seed(0))
    scale = drawn.matrix_N23[:, :, :2].square().sum(dim=2).sqrt()
    assert torch.allclose(scale, torch.tensor(0.5))
    shift = drawn.matrix_N23[:, :, 2]
    assert shift.abs().max() <= 0.5
    assert shift.abs().max() > 0.45


def test_rotation_and_zoom_occur_as_often_as_they_should() -> None:
    paper = find_recipe("as_run").augmentation
    drawn = draw(4000, paper, torch.Generator().manual_seed(0))
    scale = drawn.matrix_N23[:, 0, :2].square().sum(dim=1).sqrt()
    assert (scale < 0.999999).float().mean() == pytest.approx(0.75, abs=0.03)
    assert float(scale.min()) == pytest.approx(1 / 1.1, abs=0.001)
    angle = torch.atan2(drawn.matrix_N23[:, 1, 0].abs(), drawn.matrix_N23[:, 1, 1].abs()).rad2deg()
    off_axis = torch.minimum(angle, 90 - angle)
    assert (off_axis > 1e-3).float().mean() == pytest.approx(0.75, abs=0.03)
    assert off_axis.max() <= 10.001


def test_light_is_changed_within_its_bounds_and_ours_leaves_it_alone() -> None:
    grey = torch.full((200, SPEC.size_pix, SPEC.size_pix, 3), 100, dtype=torch.uint8)
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    images = ((grey / 255 - mean) / std).permute(0, 3, 1, 2)
    lit = moved(images, Augmentation(brightness=0.05), 2).permute(0, 2, 3, 1) * std + mean
    change = lit - 100 / 255
    assert float(change.abs().max()) == pytest.approx(0.05, abs=0.002)
    assert float(change.amin((1, 2, 3)).std()) > 0.02
    assert torch.allclose(moved(images, MODERN, 2), images, atol=1e-5)
