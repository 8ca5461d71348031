from __future__ import annotations

import numpy as np
import pytest
import torch
from support.seen_network import seen_network
from support.tiny_training import SPEC

from skymetal.engine.pixels import IMAGENET
from skymetal.train.member import Member, fold_batch_norm, predict_views
from skymetal.train.network.inputs import NetworkInput
from skymetal.train.network.network import MetallicityNet
from skymetal.train.network.show import show
from skymetal.train.network.views import make_views
from skymetal.train.recipe import Augmentation
from skymetal.train.runtimes.torch_runtime import TorchRuntime

AUGMENTATION = Augmentation(zoom=(1.0, 1.2), rotation_deg=10.0, brightness=0.05, contrast=0.05)


@pytest.fixture(scope="module")
def network() -> MetallicityNet:
    return seen_network(num_labels=2)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3)).astype(np.uint8))


def member_of(network: MetallicityNet) -> Member:
    return Member(
        runtime=TorchRuntime(fold_batch_norm(network)),
        normalisation=IMAGENET,
        label_mean=(8.9, 10.0),
        label_std=(0.2, 0.5),
        network_input=NetworkInput(),
        image_spec=SPEC,
        augmentation=AUGMENTATION,
    )


def test_folding_batch_norm_changes_nothing_but_speed(network: MetallicityNet, images: torch.Tensor) -> None:
    shown = show(NetworkInput(), images, IMAGENET, SPEC)
    views = make_views(shown, 4, images, AUGMENTATION, IMAGENET)
    with torch.no_grad():
        plain_NVK = network(views.flatten(0, 1)).view(7, 4, 2).numpy() * [0.2, 0.5] + [8.9, 10.0]
    predicted = predict_views(member_of(network), images, num_views=4, batch_size=8).labels_NVK
    assert predicted.shape == (7, 4, 2)
    assert predicted.dtype == np.float32
    assert np.allclose(predicted, plain_NVK, atol=2e-4)
    assert np.ptp(plain_NVK[:, :, 0]) > 0.01
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(("num_views", "batch_size"), [(1, 4), (2, 8), (4, 12), (5, 20), (8, 4)])
def test_a_galaxys_bytes_do_not_depend_on_its_neighbours(
    network: MetallicityNet, images: torch.Tensor, num_views: int, batch_size: int
) -> None:
    member = member_of(network)
    together = predict_views(member, images, num_views=num_views, batch_size=batch_size).labels_NVK
    for n in range(len(images)):
        alone = predict_views(member, images[n : n + 1], num_views=num_views, batch_size=batch_size).labels_NVK
        assert alone.tobytes() == together[n : n + 1].tobytes()
