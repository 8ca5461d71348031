"""Dropout whose mask is drawn for a whole batch: several ranks that share a batch drop what one rank alone would."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DrawnDropout(nn.Module):
    """Dropout of (N, num_features); in training its mask must have been drawn before each forward pass."""

    def __init__(self, probability: float, num_features: int) -> None:
        super().__init__()
        self.probability = probability
        self._num_features = num_features
        self._mask_of: dict[int, Tensor] = {}
        self._is_drawn = False

    def draw_for(self, num_images: int, rows: slice, generator: torch.Generator, device: torch.device) -> None:
        """Prepare the next pass: it will see ``rows`` of a batch of ``num_images``."""
        kept_NF = torch.rand(num_images, self._num_features, generator=generator)[rows] >= self.probability
        mask_NF = kept_NF.float() / (1 - self.probability)
        # Masks of as many rows take the same place in memory: a CUDA graph knows them by their address.
        place_NF = self._mask_of.setdefault(len(mask_NF), torch.empty_like(mask_NF, device=device))
        place_NF.copy_(mask_NF)
        self._is_drawn = True

    def forward(self, x_NF: Tensor) -> Tensor:
        """Zero each value with the module's probability and scale the others up; in evaluation do nothing."""
        if not self.training or self.probability == 0:
            return x_NF
        if not self._is_drawn:
            raise RuntimeError("dropout in training needs draw_for before every forward pass")
        self._is_drawn = False
        return x_NF * self._mask_of[len(x_NF)]


def draw_dropout(
    network: nn.Module, num_images: int, rows: slice, generator: torch.Generator, device: torch.device
) -> None:
    """Prepare every dropout of the network, which is on that device, for its next forward pass."""
    for module in network.modules():
        if isinstance(module, DrawnDropout) and module.probability:
            module.draw_for(num_images, rows, generator, device)
