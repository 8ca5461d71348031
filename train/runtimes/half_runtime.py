"""The network on a GPU in half precision: compiled once a process, each member's pass replayed as one CUDA graph."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor

from skymetal.train.network.network import MetallicityNet

_WARM_UPS = 3


class HalfRuntime:
    """A :class:`train.runtimes.runtime.Runtime` on a GPU. The first call fixes the shape of all others.

    The trunk computes in ``dtype``; pooling and head, whose last digits are the catalogue's, stay in float32.
    """

    def __init__(self, network: MetallicityNet, dtype: torch.dtype) -> None:
        self._network = copy.deepcopy(network).to(dtype)
        self._network.head.float()
        self._dtype = dtype
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
            self._images = images_NCHW.to(self._dtype, copy=True, memory_format=torch.channels_last)
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
