from __future__ import annotations

import numpy as np
import torch

from skymetal.engine.pixels import IMAGENET
from skymetal.train.network.views import make_views
from skymetal.train.recipe import Augmentation, find_recipe

STILL = Augmentation()


def test_eight_views_are_all_the_ways_a_square_maps_onto_itself() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    views = make_views(image, 8, image, STILL, IMAGENET)
    assert views.shape == (1, 8, 1, 3, 3)
    square = image[0, 0].numpy()
    wanted = {np.rot90(s, k).tobytes() for s in (square, square.T) for k in range(4)}
    assert {view.contiguous().numpy().tobytes() for view in views[0, :, 0]} == wanted
    assert len(wanted) == 8


def test_fewer_views_are_the_first_of_more() -> None:
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(make_views(images, 1, images, STILL, IMAGENET)[:, 0], images)
    eight = make_views(images, 8, images, STILL, IMAGENET)
    for num_views in (1, 2, 4):
        assert torch.equal(make_views(images, num_views, images, STILL, IMAGENET), eight[:, :num_views])


def test_views_lie_in_memory_as_convolutions_read_them_and_may_be_learnt_from() -> None:
    with torch.inference_mode():  # what is kept of the first call must serve any other
        make_views(torch.zeros(1, 3, 12, 12), 8, torch.zeros(0), STILL, IMAGENET)
    images = torch.randn(2, 3, 12, 12, requires_grad=True)
    views = make_views(images, 8, images, STILL, IMAGENET).flatten(0, 1)
    assert views.is_contiguous(memory_format=torch.channels_last)
    views.sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    assert torch.equal(images.grad, torch.full_like(images, 8))


def test_the_papers_views_are_the_image_and_four_draws_of_its_own_pixels() -> None:
    paper = find_recipe("as_run").augmentation
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)
    images = pixels.permute(0, 3, 1, 2) / 255
    views = make_views(images, 5, pixels, paper, IMAGENET)
    assert views.shape == (3, 5, 3, 16, 16)
    assert torch.equal(views[:, 0], images)
    assert len({view.numpy().tobytes() for view in views[1]}) == 5
    alone = make_views(images[1:2], 5, pixels[1:2], paper, IMAGENET)
    assert torch.equal(alone[0], views[1])
    turned = pixels.flip(0)
    assert torch.equal(make_views(images.flip(0), 5, turned, paper, IMAGENET), views.flip(0))
