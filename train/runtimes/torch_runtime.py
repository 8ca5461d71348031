"""The network as torch runs it: on a GPU, or on a CPU where no faster runtime is installed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skymetal.train.network.network import MetallicityNet


@dataclass(frozen=True)
class TorchRuntime:
    """A :class:`train.runtimes.runtime.Runtime` on the network's own device; bfloat16 halves a GPU's work."""

    network: MetallicityNet
    precision: str = "fp32"

    def run(self, images_NCHW: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (B, K) standardised labels and (B, F) features of images on the same device."""
        images_NCHW = images_NCHW.contiguous(memory_format=torch.channels_last)
        is_low = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(images_NCHW.device.type, torch.bfloat16, enabled=is_low):
            labels_NK, features_NF = self.network.labels_and_features(images_NCHW)
        return labels_NK.float().cpu().numpy(), features_NF.float().cpu().numpy()
