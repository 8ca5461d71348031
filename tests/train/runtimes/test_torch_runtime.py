from __future__ import annotations

import pytest
import torch
from support.seen_network import seen_network

from skymetal.train.member import fold_batch_norm
from skymetal.train.runtimes.torch_runtime import TorchRuntime, start_float32
from skymetal.train.runtimes.winograd_runtime import WinogradRuntime


def test_it_is_the_network_as_it_is() -> None:
    network = fold_batch_norm(seen_network(num_labels=2))
    images = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    labels, features = TorchRuntime(network).run(images)
    with torch.no_grad():
        assert torch.allclose(labels, network(images), atol=1e-5)
    assert features.shape == (3, 512)
    assert labels.dtype == features.dtype == torch.float32


def test_a_cpu_convolves_by_winograds_method_in_float32() -> None:
    assert isinstance(start_float32(fold_batch_norm(seen_network())), WinogradRuntime)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_runs_torchs_own_convolutions_in_float32() -> None:
    assert isinstance(start_float32(fold_batch_norm(seen_network()).cuda()), TorchRuntime)
