"""One step of the training: forward, loss, backward. N images of this rank, K labels.

Hundreds of small kernels: a GPU waits for the host to launch them. A gang of one lets the GPU record them, once for
each shape of batch, and replay them: the same kernels, so the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from skymetal.train.loss import batch_loss
from skymetal.train.network.network import MetallicityNet
from skymetal.train.ranks.gang import Gang

_STEPS_BEFORE_RECORDING = 3
"""Steps of each shape that are taken as they come: libraries choose and set up their kernels in the first ones."""


@dataclass(kw_only=True)
class Stepper:
    """Leaves the gradients of a batch in the network's parameters. Make one for each part that is trained."""

    network: MetallicityNet
    loss: str
    gang: Gang
    _parallel: nn.Module = field(init=False)
    _num_taken: dict[int, int] = field(default_factory=dict)
    _recorded: dict[int, _Recording] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._parallel = self.gang.parallel(self.network)

    def gradients(self, images_NCHW: Tensor, truth_NK: Tensor, *, num_images: int) -> Tensor:
        """Return what the network predicts of the batch, (N, K); num_images counts the images of all ranks."""
        if self.gang.size > 1 or images_NCHW.device.type != "cuda":
            return self._take(images_NCHW, truth_NK, num_images)
        size = len(images_NCHW)
        self._num_taken[size] = self._num_taken.get(size, 0) + 1
        if self._num_taken[size] <= _STEPS_BEFORE_RECORDING:
            return self._take(images_NCHW, truth_NK, num_images)
        if size not in self._recorded:
            self._recorded[size] = self._record(images_NCHW, truth_NK, num_images)
        return self._recorded[size].replay(self.network, images_NCHW, truth_NK)

    def _take(self, images_NCHW: Tensor, truth_NK: Tensor, num_images: int) -> Tensor:
        predicted_NK: Tensor = self._parallel(images_NCHW)
        loss = batch_loss(self.loss, predicted_NK, truth_NK, num_images=num_images, gang=self.gang)
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        return predicted_NK.detach()

    def _record(self, images_NCHW: Tensor, truth_NK: Tensor, num_images: int) -> _Recording:
        images, truth, graph = images_NCHW.clone(), truth_NK.clone(), torch.cuda.CUDAGraph()
        self.network.zero_grad(set_to_none=True)
        pool = next((recorded.graph.pool() for recorded in self._recorded.values()), None)
        with torch.cuda.graph(graph, pool=pool, stream=torch.cuda.current_stream()):
            predicted = self._take(images, truth, num_images)
        gradients = [parameter.grad for parameter in self.network.parameters()]
        return _Recording(graph=graph, images=images, truth=truth, predicted=predicted, gradients=gradients)


@dataclass(frozen=True, kw_only=True)
class _Recording:
    """A step as the GPU replays it, and where in memory it reads and writes."""

    graph: torch.cuda.CUDAGraph
    images: Tensor
    truth: Tensor
    predicted: Tensor
    gradients: list[Tensor | None]

    def replay(self, network: nn.Module, images_NCHW: Tensor, truth_NK: Tensor) -> Tensor:
        self.images.copy_(images_NCHW)
        self.truth.copy_(truth_NK)
        self.graph.replay()
        for parameter, gradient in zip(network.parameters(), self.gradients, strict=True):
            parameter.grad = gradient
        return self.predicted


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Do a GPU's work on a stream of its own: the default one cannot be recorded."""
    if device.type != "cuda":
        yield
        return
    stream, before = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        yield
    before.wait_stream(stream)
