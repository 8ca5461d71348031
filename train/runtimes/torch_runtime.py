"""The network as torch runs it, module by module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skymetal.train.network.network import MetallicityNet


@dataclass(frozen=True)
class TorchRuntime:
    """A :class:`train.runtimes.runtime.Runtime` in the precision of the network's trunk, on its own device."""

    network: MetallicityNet

    def run(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, K) standardised labels and (B, F) features of images on the same device."""
        with torch.inference_mode():
            images_NCHW = images_NCHW.to(self.network.conv1.weight.dtype)
            return self.network.labels_and_features(images_NCHW.contiguous(memory_format=torch.channels_last))
