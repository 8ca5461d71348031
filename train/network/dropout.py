"""Dropout whose mask is drawn for a whole batch: several ranks that share a batch drop what one rank alone would."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DrawnDropout(nn.Module):
    """Dropout of (N, features); in training its mask must have been drawn before each forward pass."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self._draw: tuple[int, slice, torch.Generator] | None = None

    def draw_for(self, num_images: int, rows: slice, generator: torch.Generator) -> None:
        """Prepare the next pass: it will see ``rows`` of a batch of ``num_images``."""
        self._draw = (num_images, rows, generator)

    def forward(self, x_NF: Tensor) -> Tensor:
        """Zero each value with the module's probability and scale the others up; in evaluation do nothing."""
        if not self.training or self.probability == 0:
            return x_NF
        if self._draw is None:
            raise RuntimeError("dropout in training needs draw_for before every forward pass")
        num_images, rows, generator = self._draw
        self._draw = None
        kept = torch.rand(num_images, x_NF.shape[1], generator=generator)[rows] >= self.probability
        return x_NF * (kept.to(x_NF) / (1 - self.probability))


def draw_dropout(network: nn.Module, num_images: int, rows: slice, generator: torch.Generator) -> None:
    """Prepare every dropout of the network for its next forward pass."""
    for module in network.modules():
        if isinstance(module, DrawnDropout):
            module.draw_for(num_images, rows, generator)
