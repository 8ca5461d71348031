from __future__ import annotations

import torch
from support.seen_network import seen_network

from skymetal.train.member import fold_batch_norm
from skymetal.train.runtimes.torch_runtime import TorchRuntime


def test_it_is_the_network_as_it_is() -> None:
    network = fold_batch_norm(seen_network(num_labels=2))
    images = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    labels, features = TorchRuntime(network).run(images)
    with torch.no_grad():
        assert torch.allclose(labels, network(images), atol=1e-5)
    assert features.shape == (3, 512)
    assert labels.dtype == features.dtype == torch.float32
