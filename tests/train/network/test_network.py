from __future__ import annotations

import pytest
import torch

from skymetal.train.network.network import MetallicityNet


@pytest.fixture(scope="module")
def network() -> MetallicityNet:
    torch.manual_seed(0)
    return MetallicityNet(num_labels=2)


def test_the_trunk_is_torchvisions_resnet34(network: MetallicityNet) -> None:
    trunk = [parameter for name, parameter in network.named_parameters() if not name.startswith("head.")]
    assert sum(parameter.numel() for parameter in trunk) == 21_797_672 - 513_000
    names = network.trunk_state()
    assert names["conv1.weight"].shape == (64, 3, 7, 7)
    assert names["layer1.0.conv1.weight"].shape == (64, 64, 3, 3)
    assert names["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert names["layer4.2.bn2.running_var"].shape == (512,)
    assert len(names) == 216


def test_the_head_pools_twice_and_the_first_prediction_is_the_mean(network: MetallicityNet) -> None:
    assert network.head[2].in_features == 1024
    with torch.no_grad():
        out_NK = network.eval()(torch.randn(3, 3, 32, 32))
    assert out_NK.tolist() == [[0.0, 0.0]] * 3


def test_a_network_of_the_paper_starts_anywhere_and_has_as_many_parameters(network: MetallicityNet) -> None:
    torch.manual_seed(0)
    paper = MetallicityNet(num_labels=2, starts_as_mean=False).eval()
    with torch.no_grad():
        assert paper(torch.randn(3, 3, 32, 32)).std() > 0.01
    assert bool((paper.layer1[0].bn2.weight == 1).all())  # type: ignore[operator, index, union-attr]
    head = 2 * 1024 + (1024 * 512 + 512) + 2 * 512 + (512 * 2 + 2)
    assert sum(parameter.numel() for parameter in paper.parameters()) == 21_284_672 + head


def test_layer_groups_are_a_partition_in_the_order_of_the_network(network: MetallicityNet) -> None:
    groups = network.layer_groups()
    counts = [sum(parameter.numel() for parameter in group) for group in groups]
    assert sum(counts) == sum(parameter.numel() for parameter in network.parameters())
    assert any(parameter is network.conv1.weight for parameter in groups[0])
    assert any(parameter is network.layer3[0].conv1.weight for parameter in groups[1])  # type: ignore[index, union-attr]
    assert any(parameter is network.head[6].bias for parameter in groups[2])


def test_a_frozen_trunk_neither_learns_nor_looks() -> None:
    network = MetallicityNet(num_labels=1, dropout=(0.0, 0.0), starts_as_mean=False)
    network.train_part("head")
    before = network.bn1.running_mean.clone()  # type: ignore[union-attr]
    network(torch.randn(4, 3, 32, 32)).sum().backward()
    assert torch.equal(network.bn1.running_mean, before)  # type: ignore[arg-type]
    assert network.conv1.weight.grad is None
    assert network.head[2].weight.grad is not None
    network.train_part("all")
    network(torch.randn(4, 3, 32, 32)).sum().backward()
    assert not torch.equal(network.bn1.running_mean, before)  # type: ignore[arg-type]
    assert network.conv1.weight.grad is not None
