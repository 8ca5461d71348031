from __future__ import annotations

import gc
import weakref

import pytest
import torch
from support.seen_network import seen_network

from skymetal.train.member import fold_batch_norm
from skymetal.train.network.network import MetallicityNet
from skymetal.train.runtimes.torch_runtime import TorchRuntime
from skymetal.train.runtimes.winograd_runtime import WinogradRuntime, start_float32


@pytest.fixture(scope="module")
def network() -> MetallicityNet:
    return fold_batch_norm(seen_network(num_labels=3))


def noise(num_images: int, size_pix: int) -> torch.Tensor:
    return torch.randn(num_images, 3, size_pix, size_pix, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size_pix", [32, 33, 45, 48, 63, 66, 128])
def test_it_computes_what_torch_computes_whatever_tiles_the_maps_end_in(network: MetallicityNet, size_pix: int) -> None:
    images = noise(5, size_pix)
    for mine, wanted in zip(WinogradRuntime(network).run(images), TorchRuntime(network).run(images), strict=True):
        assert mine.shape == wanted.shape
        assert (mine - wanted).abs().max() < 2e-5 * wanted.abs().max()
        assert wanted.std(0).max() > 0.01 * wanted.abs().max()


def test_more_images_than_are_computed_at_once_are_all_computed(network: MetallicityNet) -> None:
    images, runtime = noise(19, 96), WinogradRuntime(network)  # maps of 24 pixels, 36 tiles: 7 images at once
    for mine, wanted in zip(runtime.run(images), TorchRuntime(network).run(images), strict=True):
        assert (mine - wanted).abs().max() < 2e-5 * wanted.abs().max()


def test_what_stands_beside_an_image_never_changes_its_bytes(network: MetallicityNet) -> None:
    images, runtime = noise(9, 96), WinogradRuntime(network)
    others = noise(18, 96)[9:]
    kept = [0, 6, 7, 8]  # both sides of where one lot ends
    others[kept] = images[kept]
    for first, second in zip(runtime.run(images), runtime.run(others), strict=True):
        assert torch.equal(first[kept], second[kept])
        assert not torch.equal(first, second)


def test_a_start_that_failed_is_tried_again(network: MetallicityNet, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, images, left = WinogradRuntime(network), noise(2, 48), iter(range(20))
    transform = torch.tensordot

    def fail_late(*given: object, **named: object) -> torch.Tensor:
        if next(left) == 9:
            raise MemoryError
        return transform(*given, **named)  # type: ignore[arg-type, no-any-return]

    with monkeypatch.context() as patch:
        patch.setattr(torch, "tensordot", fail_late)
        with pytest.raises(MemoryError):
            runtime.run(images)
    assert torch.allclose(runtime.run(images)[0], TorchRuntime(network).run(images)[0], atol=1e-4)


def test_what_lay_in_memory_before_makes_no_difference(network: MetallicityNet) -> None:
    """Maps are written over memory that nobody cleared: what is not an image's must be made zero."""
    runtime, images = WinogradRuntime(network), noise(2, 45)
    said = runtime.run(images)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True)  # fills what is empty with NaN
    try:
        again = runtime.run(images)
    finally:
        torch.use_deterministic_algorithms(False)
    for first, second in zip(said, again, strict=True):
        assert torch.equal(first, second)


def test_the_networks_own_weights_are_let_go() -> None:
    network = fold_batch_norm(seen_network())
    weight, runtime = weakref.ref(network.layer4[1].conv1.weight), WinogradRuntime(network)
    runtime.run(noise(1, 96))
    assert weight() is not None
    del network
    gc.collect()
    assert weight() is None


def test_a_cpu_convolves_by_winograds_method_in_float32() -> None:
    assert isinstance(start_float32(fold_batch_norm(seen_network())), WinogradRuntime)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_runs_torchs_own_convolutions_in_float32() -> None:
    assert isinstance(start_float32(fold_batch_norm(seen_network()).cuda()), TorchRuntime)
