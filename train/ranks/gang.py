"""A gang: the ranks that train one member together. A gang of one needs no process group and does no talking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, kw_only=True)
class Gang:
    """This process's place among the ranks of one member."""

    rank: int = 0
    size: int = 1

    def rows(self, num_images: int) -> slice:
        """Return which rows of a batch are this rank's: contiguous, nearly equal parts."""
        first, last = (num_images * r // self.size for r in (self.rank, self.rank + 1))
        return slice(first, last)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of every rank's values; no gradient flows through it."""
        if self.size == 1:
            return values
        values = values.clone()
        distributed.all_reduce(values)
        return values

    def parallel(self, network: nn.Module) -> nn.Module:
        """Return the network with its gradients averaged over the ranks; anew after each change of what it trains."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network)


@contextmanager
def synced_batch_norm(network: nn.Module, gang: Gang) -> Iterator[None]:
    """Make every batch norm take its statistics over all ranks, so that a member does not depend on their number."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    classes = [type(module) for module in norms]
    if gang.size > 1:
        for module in norms:
            module.__class__ = _SyncedBatchNorm  # type: ignore[assignment]
    try:
        yield
    finally:
        for module, cls in zip(norms, classes, strict=True):
            module.__class__ = cls


class _SumOverRanks(torch.autograd.Function):
    """The sum over all ranks, through which gradients flow: each rank's values enter every rank's sum."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _sum_over_ranks(values: Tensor) -> Tensor:
    total: Tensor = _SumOverRanks.apply(values)  # type: ignore[no-untyped-call]
    return total


class _SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batch of all ranks. torch's own works on GPUs alone."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        ones = x.new_ones(1) * (x.numel() / x.shape[1])
        sums = _sum_over_ranks(torch.cat([x.sum(axes), ones]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = x - mean.view(shape)
        variance = _sum_over_ranks((centred * centred).sum(axes)) / count
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scale = torch.rsqrt(variance + self.eps) * self.weight
        out: Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return out
