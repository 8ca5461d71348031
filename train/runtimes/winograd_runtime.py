"""The network on a CPU in float32, its 3 by 3 convolutions of stride 1 by Winograd's method.

A tile of 4 by 4 pixels of a convolution's output comes of a window of 6 by 6 of its input. In the bases of Lavin & Gray
(2016, arXiv:1509.09308, F(4 x 4, 3 x 3)) it is a product at each of 36 places, a quarter of the multiplications, so
that the convolution of all windows is 36 matrix products. The changes of basis are matrix products, too: what torch
does near the processor's peak.

B images of S by S pixels, R by R with their frame, in T by T tiles, P tiles in all; C channels in, K channels out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from skymetal.train.network.network import STAGES, Block, MetallicityNet, apply_head
from skymetal.train.runtimes.runtime import Runtime
from skymetal.train.runtimes.torch_runtime import TorchRuntime

_TILE, _WINDOW = 4, 6
_SMALLEST = 3
"""Pixels of a map below which its only tile is mostly frame, and the method saves nothing."""
_TILES_AT_ONCE = 256
"""By measurement: of fewer the matrix products are slow, of more what one leaves to the next is in no cache."""


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


def start_float32(network: MetallicityNet) -> Runtime:
    """Return torch's runtime of the network on its own device: as it is on a GPU, by Winograd's method on a CPU."""
    return TorchRuntime(network) if network.conv1.weight.is_cuda else WinogradRuntime(network)


class WinogradRuntime:
    """A :class:`train.runtimes.runtime.Runtime` on the CPU. The first call's size is the one that it is made for."""

    def __init__(self, network: MetallicityNet) -> None:
        self._stem, self._head = network.conv1, network.head
        self._blocks: list[Block] = [block for stage in STAGES for block in getattr(network, stage)]
        self._steps: list[_Step] = []

    def run(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, K) standardised labels and (B, F) features."""
        with torch.inference_mode():
            stem_NCHW = self._stem(images_NCHW.contiguous(memory_format=torch.channels_last))
            # The ReLU after the pooling: the same numbers of a quarter of the pixels.
            x = _Map.of(functional.max_pool2d(stem_NCHW, 3, stride=2, padding=1).permute(0, 2, 3, 1).relu_())
            if not self._steps:
                self._start(x.size)
            for step in self._steps:
                x = step(x)
            return apply_head(self._head, x.pixels_BSSC.permute(0, 3, 1, 2))

    def _start(self, size: int) -> None:
        """Bring the weights into their basis, in which they are four times as many, and let go of the network's own."""
        steps = []
        for block in self._blocks:
            steps.append(_Step.of(block, size))
            size = -(-size // block.conv1.stride[0])
        self._steps, self._blocks = steps, []  # only now: a start that failed is tried again


@dataclass(frozen=True, kw_only=True)
class _Map:
    """Images in a frame of zeros, R = 4T + 2: a pixel wide around T by T tiles, of which the last ones may be cut."""

    framed_BRRC: Tensor
    size: int

    @classmethod
    def of(cls, pixels_BSSC: Tensor) -> _Map:
        """Return a copy of the pixels, framed."""
        made = cls.unwritten(len(pixels_BSSC), pixels_BSSC.shape[1], pixels_BSSC.shape[3])
        made.pixels_BSSC.copy_(pixels_BSSC)
        return made.with_frame()

    @classmethod
    def unwritten(cls, num_images: int, size: int, num_channels: int) -> _Map:
        """Return one whose pixels, then its frame, are yet to be written."""
        side = -(-size // _TILE) * _TILE + 2
        return cls(framed_BRRC=torch.empty(num_images, side, side, num_channels), size=size)

    def with_frame(self) -> _Map:
        """Return this map, its frame written."""
        for edge in (slice(0, 1), slice(self.size + 1, None)):
            self.framed_BRRC[:, edge] = 0
            self.framed_BRRC[:, :, edge] = 0
        return self

    @property
    def pixels_BSSC(self) -> Tensor:  # noqa: N802
        """The images without their frame."""
        return self.framed_BRRC[:, 1 : self.size + 1, 1 : self.size + 1]

    @property
    def tiles_BT4T4C(self) -> Tensor:  # noqa: N802
        """The images in tiles: where they end within one, with some of the frame."""
        tiles: Tensor = self.framed_BRRC[:, 1:-1, 1:-1].unflatten(2, (-1, _TILE)).unflatten(1, (-1, _TILE))
        return tiles

    def windows(self, *, side: int, step: int) -> Tensor:
        """Return windows of side by side pixels, the frame's among them, every so many: (B, T, T, side, side, C)."""
        return self.framed_BRRC.unfold(1, side, step).unfold(2, side, step).permute(0, 1, 2, 4, 5, 3)


_Convolve = Callable[[_Map, _Map | None], _Map]
"""A convolution of a map with its bias, the sum with a shortcut if there is one, and a ReLU."""


@dataclass(frozen=True, kw_only=True)
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
        return cls(
            conv1=_Direct(block.conv1) if stride > 1 or is_small else _Winograd(block.conv1),
            conv2=_Direct(block.conv2) if is_small else _Winograd(block.conv2),
            shortcut=_unchanged if block.downsample is None else _Shrink(block.downsample[0]),
        )

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
        pixels_BSSC = x.pixels_BSSC[:, :: self._stride, :: self._stride]
        return _Map.of(functional.linear(pixels_BSSC, self._weight_KC, self._bias_K))


class _Direct:
    """A :data:`_Convolve` as one matrix product: torch's own brings the weights into its order at every call."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self._weight_KX = layer.weight.permute(0, 2, 3, 1).flatten(1)  # X = 9C: a window's numbers in a row
        self._bias_K, self._stride = layer.bias, layer.stride[0]

    def __call__(self, x: _Map, shortcut: _Map | None) -> _Map:
        size = -(-x.size // self._stride)
        windows_BSSX = x.windows(side=3, step=self._stride)[:, :size, :size].flatten(3)
        pixels_BSSK = functional.linear(windows_BSSX, self._weight_KX, self._bias_K)
        if shortcut is not None:
            pixels_BSSK += shortcut.pixels_BSSC
        return _Map.of(pixels_BSSK.relu_())


class _Winograd:
    """A :data:`_Convolve` by Winograd's method, of stride 1."""

    def __init__(self, layer: nn.Conv2d) -> None:
        weight_9CK = layer.weight.permute(2, 3, 1, 0).flatten(0, 1)
        self._weight_36CK = torch.tensordot(_FROM_WEIGHT, weight_9CK, 1)
        assert layer.bias is not None  # the batch norm is folded in
        self._bias_K = layer.bias

    def __call__(self, x: _Map, shortcut: _Map | None) -> _Map:
        made = _Map.unwritten(len(x.framed_BRRC), x.size, self._weight_36CK.shape[2])
        windows_66BTTC = x.windows(side=_WINDOW, step=_TILE).permute(3, 4, 0, 1, 2, 5)
        into = made.tiles_BT4T4C
        step = max(1, _TILES_AT_ONCE // into.shape[1] ** 2)
        for first in range(0, len(into), step):
            images = slice(first, first + step)
            tiles_BT4T4K = self._tiles(windows_66BTTC[:, :, images])
            if shortcut is None:
                torch.clamp_min(tiles_BT4T4K, 0, out=into[images])
            else:
                torch.add(tiles_BT4T4K, shortcut.tiles_BT4T4C[images], out=into[images]).relu_()
        return made.with_frame()

    def _tiles(self, windows_66BTTC: Tensor) -> Tensor:
        """Return what the convolution, with its bias, makes of some images' windows: (B, T, 4, T, 4, K)."""
        num_places, num_in, num_out = self._weight_36CK.shape
        windows_36PC = (_FROM_WINDOW @ windows_66BTTC.reshape(num_places, -1)).view(num_places, -1, num_in)
        products_36PK = torch.bmm(windows_36PC, self._weight_36CK)
        products_36PK[_CONSTANT] += self._bias_K
        tiles_16P = _TO_TILE @ products_36PK.view(num_places, -1)
        tiles_44BTTK = tiles_16P.view(_TILE, _TILE, *windows_66BTTC.shape[2:5], num_out)
        return tiles_44BTTK.permute(2, 3, 0, 4, 1, 5)
