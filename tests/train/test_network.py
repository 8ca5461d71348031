from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from skymetal.catalogs.errors import InputError
from skymetal.train.network import MetallicityNet, load_trunk


@pytest.fixture(scope="module")
def network() -> MetallicityNet:
    torch.manual_seed(0)
    return MetallicityNet(num_labels=2)


def pretrained(network: MetallicityNet) -> dict[str, torch.Tensor]:
    """A state dict as torchvision writes it: the trunk, then a classifier of 1000 classes."""
    trunk = {name: torch.full_like(tensor, 0.5) for name, tensor in network.trunk_state().items()}
    return trunk | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


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


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_torchvision_file_fills_the_trunk_and_not_the_head(suffix: str, tmp_path: Path) -> None:
    network = MetallicityNet(num_labels=1)
    head = network.head[2].weight.detach().clone()
    path = tmp_path / f"resnet34{suffix}"
    if suffix == ".pth":
        torch.save(pretrained(network), path)
    else:
        save_file(pretrained(network), path)
    load_trunk(network, path)
    assert bool((network.layer3[5].conv2.weight == 0.5).all())  # type: ignore[operator, index, union-attr]
    assert torch.equal(network.head[2].weight, head)


def test_an_old_file_without_batch_counters_is_taken(network: MetallicityNet, tmp_path: Path) -> None:
    old = {name: value for name, value in pretrained(network).items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    load_trunk(MetallicityNet(num_labels=1), tmp_path / "old.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer2.1.bn1.weight": None}, "lacks the tensor 'layer2.1.bn1.weight'"),
        ({"layer5.weight": torch.zeros(1)}, "has a tensor 'layer5.weight' that resnet34 lacks"),
        ({"conv1.weight": torch.zeros(64, 4, 7, 7)}, r"'conv1.weight' has shape \(64, 4, 7, 7\)"),
        ({"bn1.bias": torch.full((64,), torch.nan)}, "'bn1.bias' has values that are not finite"),
    ],
)
def test_a_file_of_another_network_is_refused_by_name(
    change: dict[str, torch.Tensor | None], message: str, network: MetallicityNet, tmp_path: Path
) -> None:
    tensors = {name: value for name, value in (pretrained(network) | change).items() if value is not None}
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(InputError, match=message):
        load_trunk(MetallicityNet(num_labels=1), tmp_path / "other.pth")


def test_a_file_that_holds_no_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"code": print}, tmp_path / "code.pth")
    for name in ("text.pth", "code.pth"):
        with pytest.raises(InputError, match="cannot be read as weights"):
            load_trunk(MetallicityNet(num_labels=1), tmp_path / name)
    with pytest.raises(InputError, match="is not a file"):
        load_trunk(MetallicityNet(num_labels=1), tmp_path / "none.pth")
