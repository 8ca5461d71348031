from __future__ import annotations

import pytest
import torch
from support.seen_network import seen_network

from skymetal.train.member import fold_batch_norm
from skymetal.train.runtimes.half_runtime import start_half
from skymetal.train.runtimes.torch_runtime import TorchRuntime

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
GPU = pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu])


def noise(seed: int, num_images: int = 16, device: str = "cuda") -> torch.Tensor:
    return torch.randn(num_images, 3, 48, 48, generator=torch.Generator().manual_seed(seed)).to(device)


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
def test_it_computes_nearly_what_full_precision_does(dtype: torch.dtype, tolerance: float, device: str) -> None:
    network = fold_batch_norm(seen_network(num_labels=3)).to(device)
    half, full = start_half(network, dtype), TorchRuntime(network)
    for seed in range(3):
        images = noise(seed, device=device)
        for mine, wanted in zip(half.run(images), full.run(images), strict=True):
            assert mine.dtype == torch.float32
            assert 0 < float((mine - wanted).std()) < tolerance * float(wanted.std())


def test_the_head_keeps_its_last_digits() -> None:
    network = fold_batch_norm(seen_network())
    before = {name: tensor.clone() for name, tensor in network.head.state_dict().items()}
    half = start_half(network, torch.bfloat16)
    assert isinstance(half, TorchRuntime)
    assert half.network.conv1.weight.dtype == torch.bfloat16
    after = half.network.head.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert network.conv1.weight.dtype == torch.float32


@pytest.mark.gpu
@needs_gpu
def test_members_that_share_a_compiled_pass_keep_their_own_weights_and_say_the_same_again() -> None:
    networks = [fold_batch_norm(seen_network(num_labels=1)).cuda() for _ in range(2)]
    torch.nn.init.normal_(networks[1].conv1.weight, std=0.1)
    halves = [start_half(network, torch.float16) for network in networks]
    first = [half.run(noise(1))[0] for half in halves]
    again = [half.run(noise(1))[0] for half in reversed(halves)]
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first[0], again[1])
    assert torch.equal(first[1], again[0])


@pytest.mark.gpu
@needs_gpu
def test_another_number_of_images_is_refused() -> None:
    half = start_half(fold_batch_norm(seen_network()).cuda(), torch.float16)
    half.run(noise(1))
    with pytest.raises(ValueError, match="this runtime was started for"):
        half.run(noise(1, num_images=3))
