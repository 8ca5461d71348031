"""The network: a ResNet-34 trunk under torchvision's own weight names, and the paper's regression head.

Trunk: He et al. 2016, 34 layers. Head: Wu & Boada 2019, section 3. N images, C bands, K labels, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skymetal.train.network.dropout import DrawnDropout

STAGES = {"layer1": (64, 3), "layer2": (128, 4), "layer3": (256, 6), "layer4": (512, 3)}
MIN_SIZE_PIX = 32
HIDDEN = 4
"""How many modules of the head lead to its hidden layer, of NUM_FEATURES."""
NUM_FEATURES = 512


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
    """ResNet-34 to its last block, then max and average pooling side by side and two linear layers.

    One that starts_as_mean predicts 0 for every image at first, and each of its blocks begins as its shortcut.
    """

    def __init__(
        self,
        *,
        num_labels: int,
        num_bands: int = 3,
        dropout: tuple[float, float] = (0.25, 0.5),
        starts_as_mean: bool = True,
    ) -> None:
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
        last = nn.Linear(NUM_FEATURES, num_labels)
        self.head = nn.Sequential(
            nn.BatchNorm1d(2 * num_in),
            DrawnDropout(dropout[0], 2 * num_in),
            nn.Linear(2 * num_in, NUM_FEATURES),
            nn.ReLU(),
            nn.BatchNorm1d(NUM_FEATURES),
            DrawnDropout(dropout[1], NUM_FEATURES),
            last,
        )
        if not last.weight.is_meta:  # made on the meta device, it is to get its weights from a file
            self._initialise(last, starts_as_mean)

    def _initialise(self, last: nn.Linear, starts_as_mean: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)
        if starts_as_mean:
            # A random first prediction would cost many steps to unlearn.
            nn.init.zeros_(last.weight)
            for module in self.modules():
                if isinstance(module, Block):
                    nn.init.zeros_(module.bn2.weight)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Return (N, K) labels in standardised units, from normalised images."""
        out: Tensor = self.head(_pool(self._trunk(images_NCHW)))
        return out

    def labels_and_features(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, K) labels as forward does, and (N, 512) features: the last hidden layer behind its ReLU."""
        return apply_head(self.head, self._trunk(images_NCHW))

    def _trunk(self, images_NCHW: Tensor) -> Tensor:
        x: Tensor = self.maxpool(torch.relu(self.bn1(self.conv1(images_NCHW))))
        for name in STAGES:
            x = getattr(self, name)(x)
        return x

    def trunk_state(self) -> dict[str, Tensor]:
        """Return the trunk's tensors by their torchvision names."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("head.")}

    def layer_groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters of the stem to layer2, of layer3 and layer4, and of the head."""
        groups: tuple[list[nn.Parameter], ...] = ([], [], [])
        for name, parameter in self.named_parameters():
            group = 2 if name.startswith("head.") else 1 if name.startswith(("layer3.", "layer4.")) else 0
            groups[group].append(parameter)
        return groups[0], groups[1], groups[2]

    def train_part(self, part: str) -> None:
        """Go into training mode: of everything (``all``), or of the ``head`` over a trunk that stays as it is."""
        self.train()
        low, middle, _ = self.layer_groups()
        for parameter in (*low, *middle):
            parameter.requires_grad_(part == "all")
        if part == "head":
            for name, module in self.named_children():
                if name != "head":
                    module.eval()


def apply_head(head: nn.Sequential, map_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return a network's (N, K) labels and (N, 512) features of the map that its trunk has made."""
    features_NF = head[:HIDDEN](_pool(map_NCHW))
    return head[HIDDEN:](features_NF), features_NF


def _pool(map_NCHW: Tensor) -> Tensor:
    map_NCHW = map_NCHW.float()  # a trunk may compute in half precision, what follows never does
    # amax, not AdaptiveMaxPool2d: the backward pass of the latter is not reproducible on a GPU.
    return torch.cat([map_NCHW.amax((2, 3)), map_NCHW.mean((2, 3))], dim=1)


def in_memory_format(network: MetallicityNet, memory_format: torch.memory_format) -> None:
    """Lay out every convolution's weights in ``memory_format``, in place."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
