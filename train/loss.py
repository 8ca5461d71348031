"""The losses, for a batch that may be spread over several ranks. N images of this rank, K labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from skymetal.train.ranks.gang import Gang


def batch_loss(loss: str, predicted_NK: Tensor, truth_NK: Tensor, *, num_images: int, gang: Gang) -> Tensor:
    """Return what each rank is to differentiate, so that the ranks' mean gradient is that of the whole batch's loss.

    num_images counts the images of all ranks. ``huber`` is the mean over images and labels (turning linear at 1);
    ``rmse`` the root mean square over images and labels together (Wu & Boada 2019).
    """
    num_values = num_images * truth_NK.shape[1]
    if loss == "huber":
        return functional.huber_loss(predicted_NK, truth_NK, reduction="sum") * (gang.size / num_values)
    squares = (predicted_NK - truth_NK).square().sum()
    total = gang.sum(squares.detach())
    # d sqrt(S/n) = dS / (2 sqrt(S n)): the root is of the whole batch, which no rank has.
    return squares * (gang.size / (2 * torch.sqrt(total * num_values).clamp(min=1e-12)))
