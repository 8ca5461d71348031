"""The views of an image: itself, flipped and turned, the eight ways a square maps onto itself."""

from __future__ import annotations

import torch
from torch import Tensor

# (quarter turns, mirrored), ordered so that 1, 2, 4 and 8 views are each a group: no direction is preferred.
VIEWS = ((0, False), (2, False), (0, True), (2, True), (1, False), (3, False), (1, True), (3, True))


def make_views(images_NCHW: Tensor, num_views: int) -> Tensor:
    """Return (N, V, C, H, W), V = num_views: every image in its views; view 0 is the image itself."""
    views = []
    for quarter_turns, mirrored in VIEWS[:num_views]:
        turned = torch.rot90(images_NCHW, quarter_turns, (2, 3))
        views.append(turned.flip(3) if mirrored else turned)
    return torch.stack(views, dim=1)
