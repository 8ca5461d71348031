from __future__ import annotations

import numpy as np
import torch

from skymetal.train.views import make_views


def test_eight_views_are_all_the_ways_a_square_maps_onto_itself() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    views = make_views(image, 8)
    assert views.shape == (1, 8, 1, 3, 3)
    square = image[0, 0].numpy()
    wanted = {np.rot90(s, k).tobytes() for s in (square, square.T) for k in range(4)}
    assert {view.contiguous().numpy().tobytes() for view in views[0, :, 0]} == wanted
    assert len(wanted) == 8


def test_fewer_views_are_the_first_of_more() -> None:
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(make_views(images, 1)[:, 0], images)
    for num_views in (1, 2, 4):
        assert torch.equal(make_views(images, num_views), make_views(images, 8)[:, :num_views])
