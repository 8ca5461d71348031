"""The network on a CPU in float32, its 3 by 3 convolutions by Winograd's method: a quarter of the multiplications.

A tile of 4 by 4 pixels of a convolution's output comes of a window of 6 by 6 of its input. In the bases of Lavin & Gray
(2016, arXiv:1509.09308, F(4 x 4, 3 x 3)) it is a product at each of 36 places, so that the convolution of all windows
is 36 matrix products. The changes of basis are matrix products, too: what torch does near the processor's peak.

B images of S by S pixels in T by T tiles, P tiles in all; C channels in, K channels out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from skymetal.train.network.network import STAGES, Block, MetallicityNet, apply_head

_TILE, _WINDOW = 4, 6
_SMALLEST = 3
"""Pixels of a map below which its only tile is mostly frame, and the method saves nothing."""
_TILES_AT_ONCE = 256
"""What is computed of so many stays in a core's cache from one product to the next."""


def _along_both_axes(rows: list[list[float]]) -> Tensor:
    """Return the matrix that applies the rows along both axes of a tile whose pixels are in one row."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix).float()


_FROM_WEIGHT = _along_both_axes(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
_FROM_WINDOW = _along_both_axes(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_TO_TILE = _along_both_axes(
    [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ]
)
_CONSTANT = _WINDOW + 1
"""The place, of the 36, that every pixel of a tile takes once: a bias is added there."""


class WinogradRuntime:
    """A :class:`train.runtimes.runtime.Runtime` on the CPU. The first call's size is the one that it is made for."""

    def __init__(self, network: MetallicityNet) -> None:
        self._stem, self._head = network.conv1, network.head
        self._blocks: list[Block] = [block for stage in STAGES for block in getattr(network, stage)]
        self._steps: list[_Step] = []

    def run(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, K) standardised labels and (B, F) features."""
        with torch.inference_mode():
            stem = self._stem(images_NCHW.contiguous(memory_format=torch.channels_last))
            # The ReLU after the pooling: the same numbers of a quarter of the pixels.
            x = _Map.of(functional.max_pool2d(stem, 3, stride=2, padding=1).permute(0, 2, 3, 1).relu_())
            if not self._steps:
                self._start(x.size)
            for step in self._steps:
                x = step(x)
            return apply_head(self._head, x.pixels.permute(0, 3, 1, 2))

    def _start(self, size: int) -> None:
        """Bring the weights into their basis, in which they are four times as many, and let go of the network's own."""
        steps = []
        for block in self._blocks:
            steps.append(_Step.of(block, size))
            size = -(-size // block.conv1.stride[0])
        self._steps, self._blocks = steps, []  # only now: a start that failed is tried again


@dataclass(frozen=True)
class _Map:
    """Images in a frame of zeros, (B, 4T + 2, 4T + 2, C): a pixel wide around T by T tiles, the last ones maybe cut."""

    framed: Tensor
    size: int

    @classmethod
    def of(cls, pixels_BSSC: Tensor) -> _Map:
        """Return a copy of the pixels, framed."""
        made = cls.empty(len(pixels_BSSC), pixels_BSSC.shape[1], pixels_BSSC.shape[3])
        made.pixels.copy_(pixels_BSSC)
        return made.framed_in_zeros()

    @classmethod
    def empty(cls, num_images: int, size: int, num_channels: int) -> _Map:
        """Return one whose pixels and frame are yet to be written."""
        side = -(-size // _TILE) * _TILE + 2
        return cls(torch.empty(num_images, side, side, num_channels), size)

    def framed_in_zeros(self) -> _Map:
        """Return this map, its frame written."""
        for edge in (slice(0, 1), slice(self.size + 1, None)):
            self.framed[:, edge] = 0
            self.framed[:, :, edge] = 0
        return self

    @property
    def pixels(self) -> Tensor:
        """The images, (B, S, S, C)."""
        return self.framed[:, 1 : self.size + 1, 1 : self.size + 1]

    @property
    def tiles(self) -> Tensor:
        """The images and, where they end within a tile, some of the frame: (B, T, 4, T, 4, C)."""
        tiles: Tensor = self.framed[:, 1:-1, 1:-1].unflatten(2, (-1, _TILE)).unflatten(1, (-1, _TILE))
        return tiles

    def windows(self, *, side: int, step: int) -> Tensor:
        """Return windows of side by side pixels, the frame's among them, every so many: (B, T, T, side, side, C)."""
        return self.framed.unfold(1, side, step).unfold(2, side, step).permute(0, 1, 2, 4, 5, 3)


_Convolve = Callable[[_Map, _Map | None], _Map]
"""A convolution of a map with its bias, the sum with a shortcut if there is one, and a ReLU."""


@dataclass(frozen=True)
class _Step:
    """A block of the network."""

    conv1: _Convolve
    conv2: _Convolve
    shortcut: Callable[[_Map], _Map]

    @classmethod
    def of(cls, block: Block, size: int) -> _Step:
        """Return what computes the block of maps of that size."""
        stride = block.conv1.stride[0]
        is_small = -(-size // stride) < _SMALLEST
        conv1 = _Direct(block.conv1) if stride > 1 or is_small else _Winograd(block.conv1)
        conv2 = _Direct(block.conv2) if is_small else _Winograd(block.conv2)
        return cls(conv1, conv2, _unchanged if block.downsample is None else _Shrink(block.downsample[0]))

    def __call__(self, x: _Map) -> _Map:
        return self.conv2(self.conv1(x, None), self.shortcut(x))


def _unchanged(x: _Map) -> _Map:
    return x


class _Shrink:
    """The 1 by 1 convolution of a shortcut, of some pixels alone: a linear map."""

    def __init__(self, layer: nn.Module) -> None:
        assert isinstance(layer, nn.Conv2d)
        self._weight_KC, self._bias_K, self._stride = layer.weight[:, :, 0, 0], layer.bias, layer.stride[0]

    def __call__(self, x: _Map) -> _Map:
        pixels = x.pixels[:, :: self._stride, :: self._stride]
        return _Map.of(functional.linear(pixels, self._weight_KC, self._bias_K))


class _Direct:
    """A :data:`_Convolve` as one matrix product: torch's own brings the weights into its order at every call."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self._weight_KW = layer.weight.permute(0, 2, 3, 1).flatten(1)
        self._bias_K, self._stride = layer.bias, layer.stride[0]

    def __call__(self, x: _Map, shortcut: _Map | None) -> _Map:
        size = -(-x.size // self._stride)
        windows_BSSW = x.windows(side=3, step=self._stride)[:, :size, :size].flatten(3)
        pixels = functional.linear(windows_BSSW, self._weight_KW, self._bias_K)
        if shortcut is not None:
            pixels += shortcut.pixels
        return _Map.of(pixels.relu_())


class _Winograd:
    """A :data:`_Convolve` by Winograd's method, of stride 1."""

    def __init__(self, layer: nn.Conv2d) -> None:
        weight_9CK = layer.weight.permute(2, 3, 1, 0).flatten(0, 1)
        self._weight_36CK = torch.tensordot(_FROM_WEIGHT, weight_9CK, 1)
        assert layer.bias is not None  # the batch norm is folded in
        self._bias_K = layer.bias

    def __call__(self, x: _Map, shortcut: _Map | None) -> _Map:
        made = _Map.empty(len(x.framed), x.size, self._weight_36CK.shape[2])
        windows_66BTTC = x.windows(side=_WINDOW, step=_TILE).permute(3, 4, 0, 1, 2, 5)
        step = max(1, _TILES_AT_ONCE // made.tiles.shape[1] ** 2)
        for first in range(0, len(x.framed), step):
            images = slice(first, first + step)
            tiles, pixels = self._tiles(windows_66BTTC[:, :, images]), made.tiles[images]
            if shortcut is None:
                torch.clamp_min(tiles, 0, out=pixels)
            else:
                torch.add(tiles, shortcut.tiles[images], out=pixels).relu_()
        return made.framed_in_zeros()

    def _tiles(self, windows_66BTTC: Tensor) -> Tensor:
        """Return what the convolution, with its bias, makes of some images' windows: (B, T, 4, T, 4, K)."""
        num_places, num_in, num_out = self._weight_36CK.shape
        windows_36PC = (_FROM_WINDOW @ windows_66BTTC.reshape(num_places, -1)).view(num_places, -1, num_in)
        products_36PK = torch.bmm(windows_36PC, self._weight_36CK)
        products_36PK[_CONSTANT] += self._bias_K
        tiles = (_TO_TILE @ products_36PK.view(num_places, -1)).view(_TILE, _TILE, *windows_66BTTC.shape[2:5], num_out)
        return tiles.permute(2, 3, 0, 4, 1, 5)
