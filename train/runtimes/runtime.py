"""The seam between a member and what computes it. B images a call, K labels, F features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from skymetal.train.network.network import MetallicityNet


class Runtime(Protocol):
    """A member's network in inference form, always given the same number of images.

    An image at the same place in a call gets the same bytes, whatever the other images in the call.
    """

    def run(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, K) standardised labels and (B, F) features, float32, of normalised images, on their device.

        A GPU may still be at work on them.
        """
        ...


StartRuntime = Callable[[MetallicityNet], Runtime]
"""Makes a runtime of a network whose batch norms are folded."""


def choose_device() -> torch.device:
    """Return the GPU if this process sees one, else the CPU. A Dask worker sees its own as number 0."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
