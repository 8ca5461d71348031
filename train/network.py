"""The network: a ResNet-34 trunk under torchvision's own weight names, and the paper's regression head.

Trunk: He et al. 2016, 34 layers. Head: Wu & Boada 2019, section 3. N images, C bands, K labels.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from skymetal.catalogs.errors import InputError

STAGES = {"layer1": (64, 3), "layer2": (128, 4), "layer3": (256, 6), "layer4": (512, 3)}
MIN_SIZE_PIX = 32


class Block(nn.Module):
    """Two 3 by 3 convolutions beside a shortcut."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or num_in != num_out:
            shortcut = nn.Conv2d(num_in, num_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(num_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, num_in, H, W) to (N, num_out, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + shortcut)


class MetallicityNet(nn.Module):
    """ResNet-34 to its last block, then max and average pooling side by side and two linear layers."""

    def __init__(self, *, num_labels: int, num_bands: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_bands, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        num_in = 64
        for name, (num_out, num_blocks) in STAGES.items():
            first = Block(num_in, num_out, stride=1 if name == "layer1" else 2)
            rest = [Block(num_out, num_out, stride=1) for _ in range(num_blocks - 1)]
            setattr(self, name, nn.Sequential(first, *rest))
            num_in = num_out
        last = nn.Linear(512, num_labels)
        self.head = nn.Sequential(
            nn.BatchNorm1d(2 * num_in),
            nn.Dropout(0.25),
            nn.Linear(2 * num_in, 512),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            nn.Dropout(0.5),
            last,
        )
        self.apply(_initialise)
        # The first prediction is the mean label: a random one would cost many steps to unlearn.
        nn.init.zeros_(last.weight)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Return (N, K) labels in standardised units, from normalised images."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(images_NCHW))))
        for name in STAGES:
            x = getattr(self, name)(x)
        # amax, not AdaptiveMaxPool2d: the backward pass of the latter is not reproducible on a GPU.
        pooled = torch.cat([x.amax((2, 3)), x.mean((2, 3))], dim=1)
        out: Tensor = self.head(pooled)
        return out

    def trunk_state(self) -> dict[str, Tensor]:
        """Return the trunk's tensors by their torchvision names."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("head.")}


def load_trunk(network: MetallicityNet, path: str | Path) -> None:
    """Copy a torchvision ``resnet34`` file into the trunk; its ``fc.*`` is not used.

    Takes ``.safetensors`` or what ``torch.save`` wrote of a state dict; nothing in the file is executed.
    Raises InputError naming the first missing, extra or misshapen tensor.
    """
    found = {name: tensor for name, tensor in _read_weights(Path(path)).items() if not name.startswith("fc.")}
    wanted = network.trunk_state()
    # Files from before torch 0.4.1 lack these counters, and nothing here reads them.
    counters = {name: tensor for name, tensor in wanted.items() if name.endswith(".num_batches_tracked")}
    found = {**counters, **found}
    for name in (*wanted, *found):
        if name not in found:
            raise InputError(f"{path} lacks the tensor {name!r}: give a torchvision resnet34 file")
        if name not in wanted:
            raise InputError(f"{path} has a tensor {name!r} that resnet34 lacks: give a torchvision resnet34 file")
        if found[name].shape != wanted[name].shape:
            got, want = tuple(found[name].shape), tuple(wanted[name].shape)
            raise InputError(f"{path}: {name!r} has shape {got}, resnet34 has {want}: give a torchvision resnet34 file")
        if not bool(torch.isfinite(found[name]).all()):
            raise InputError(f"{path}: {name!r} has values that are not finite: the file is damaged; fetch it again")
    network.load_state_dict(found, strict=False)


def in_memory_format(network: MetallicityNet, memory_format: torch.memory_format) -> None:
    """Lay out every convolution's weights in ``memory_format``, in place."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise InputError(f'[train] init = {str(path)!r} is not a file: give a torchvision resnet34 file, or "random"')
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as weights ({reason}): give a torchvision resnet34 file") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} does not hold a state dict: save model.state_dict() of a torchvision resnet34")
    return content


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, Block):
        # Every block begins as its shortcut: a short training from random weights gets further so.
        nn.init.zeros_(module.bn2.weight)
