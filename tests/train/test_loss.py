from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from skymetal.train.loss import batch_loss
from skymetal.train.ranks.gang import Gang


@dataclass(frozen=True, kw_only=True)
class KnownGang(Gang):
    """A gang whose other ranks' squares are known beforehand."""

    others: float = 0.0

    def sum(self, values: Tensor) -> Tensor:
        return values + self.others


@pytest.mark.parametrize(
    ("loss", "whole"), [("rmse", lambda p, t: torch.sqrt(functional.mse_loss(p, t))), ("huber", functional.huber_loss)]
)
def test_the_mean_gradient_of_the_ranks_is_that_of_the_whole_batch(loss: str, whole: object) -> None:
    torch.manual_seed(0)
    truth, start = torch.randn(7, 3), torch.randn(7, 3)
    predicted = start.clone().requires_grad_()
    whole(predicted, truth).backward()  # type: ignore[operator]
    squares = (start - truth).square()
    parts = []
    for rank, rows in enumerate((slice(0, 3), slice(3, 7))):
        mine = start[rows].clone().requires_grad_()
        gang = KnownGang(rank=rank, size=2, others=float(squares.sum() - squares[rows].sum()))
        batch_loss(loss, mine, truth[rows], num_images=7, gang=gang).backward()  # type: ignore[no-untyped-call]
        assert mine.grad is not None
        parts.append(mine.grad / 2)  # as averaging over two ranks does
    assert predicted.grad is not None
    assert torch.allclose(torch.cat(parts), predicted.grad, atol=1e-6)


def test_a_perfect_batch_has_no_gradient_and_no_nan() -> None:
    predicted = torch.ones(4, 1, requires_grad=True)
    batch_loss("rmse", predicted, torch.ones(4, 1), num_images=4, gang=Gang()).backward()  # type: ignore[no-untyped-call]
    assert predicted.grad is not None
    assert not predicted.grad.any()
