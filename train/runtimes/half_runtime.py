"""The network in half precision: its trunk, not pooling and head, whose last digits are the catalogue's.

On a GPU it is compiled once a process, and each member's pass replayed as one CUDA graph; on a CPU torch runs it.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor

from skymetal.train.network.network import MetallicityNet
from skymetal.train.runtimes.runtime import Runtime
from skymetal.train.runtimes.torch_runtime import TorchRuntime

_WARM_UPS = 3


def start_half(network: MetallicityNet, dtype: torch.dtype) -> Runtime:
    """Return a runtime of the network, its trunk in ``dtype``, on its own device."""
    network = copy.deepcopy(network)
    for name, part in network.named_children():
        if name != "head":
            part.to(dtype)
    return GraphRuntime(network) if network.conv1.weight.is_cuda else TorchRuntime(network)


class GraphRuntime:
    """A :class:`train.runtimes.runtime.Runtime` on a GPU. The first call fixes the shape of all others."""

    def __init__(self, network: MetallicityNet) -> None:
        self._network = network
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, K) standardised labels and (B, F) features of images on the GPU."""
        if self._graph is None:
            self._start(images_NCHW)
        if images_NCHW.shape != self._images.shape:
            raise ValueError(
                f"this runtime was started for {tuple(self._images.shape)}, got {tuple(images_NCHW.shape)}"
            )
        assert self._graph is not None
        with torch.inference_mode():
            self._images.copy_(images_NCHW)
            self._graph.replay()
            return self._labels.clone(), self._features.clone()  # the next replay overwrites them

    def _start(self, images_NCHW: Tensor) -> None:
        """Compile for this shape, and record one pass."""
        with torch.inference_mode():
            dtype = self._network.conv1.weight.dtype
            self._images = images_NCHW.to(dtype, copy=True, memory_format=torch.channels_last)
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    _compiled()(self._network, self._images)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads of this process may talk to the GPU meanwhile.
            with torch.cuda.graph(graph, pool=_memory(), stream=stream, capture_error_mode="thread_local"):
                self._labels, self._features = _compiled()(self._network, self._images)
        self._graph = graph


@cache
def _compiled() -> Any:
    """Return the forward pass, compiled; members differ in their weights alone, and share it.

    Kernels are not chosen by trial: two workers must choose alike.
    """
    return torch.compile(MetallicityNet.labels_and_features, dynamic=False, options={"deterministic": True})


@cache
def _memory() -> Any:
    """Return the memory that all graphs of this process share: their replays never overlap."""
    return torch.cuda.graph_pool_handle()
