"""A network whose batch norms have all seen something, and whose predictions differ."""

from __future__ import annotations

import torch

from skymetal.train.network.network import MetallicityNet


def seen_network(num_labels: int = 1) -> MetallicityNet:
    torch.manual_seed(1)
    network = MetallicityNet(num_labels=num_labels)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
    torch.nn.init.normal_(network.head[-1].weight, std=0.1)
    return network.eval()
