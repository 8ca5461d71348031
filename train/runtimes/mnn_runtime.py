"""The network as MNN runs it: on a CPU twice as fast as torch, by Winograd's convolutions, in full precision.

MNN's converter is called directly: the Python module around it (``MNN.tools``) installs packages and reports to its
makers when it is imported.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skymetal.catalogs.errors import InputError
from skymetal.train.network.network import MetallicityNet
from skymetal.train.runtimes.onnx_graph import FEATURES, IMAGES, LABELS, to_onnx

REMEDY = "pip install 'skymetal[cpu]', or set [score] runtime = 'torch'"


def mnn_is_installed() -> bool:
    """Tell whether this process could use it."""
    return all(find_spec(name) is not None for name in ("MNN", "onnx"))


class MnnRuntime:
    """A :class:`train.runtimes.runtime.Runtime` on the CPU. The first call fixes the shape of all others."""

    def __init__(self, network: MetallicityNet) -> None:
        if not mnn_is_installed():
            raise InputError(f"[score] runtime = 'mnn' needs the packages MNN and onnx, which are not here; {REMEDY}")
        self._network: MetallicityNet | None = network
        self._module: Any = None
        self._shape: tuple[int, ...] = ()

    def run(self, images_NCHW: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (B, K) standardised labels and (B, F) features."""
        if self._network is not None:
            self._shape = tuple(images_NCHW.shape)
            self._module, self._network = _load(self._network, self._shape), None
        if tuple(images_NCHW.shape) != self._shape:
            raise ValueError(f"this runtime was started for images {self._shape}, got {tuple(images_NCHW.shape)}")
        images = np.ascontiguousarray(images_NCHW.numpy())
        from MNN import expr  # the extra `cpu`; loaded, silently, with the network

        labels, features = self._module.onForward([expr.const(images, list(self._shape), expr.NCHW)])
        # What MNN returns is a view of memory that its next call overwrites.
        return np.array(labels.read(), copy=True), np.array(features.read(), copy=True)


def _load(network: MetallicityNet, shape: tuple[int, ...]) -> Any:
    with _silence():
        import _tools  # the extra `cpu`: MNN's converter
        import onnx
        from MNN import nn

        graph = to_onnx(network, num_images=shape[0], num_bands=shape[1], size_pix=shape[2])
        with tempfile.TemporaryDirectory(prefix="skymetal-mnn-") as folder:
            source, converted = Path(folder) / "member.onnx", Path(folder) / "member.mnn"
            onnx.save(graph, source)
            arguments = {"-f": "ONNX", "--modelFile": str(source), "--MNNModel": str(converted), "--bizCode": "MNN"}
            _tools.mnnconvert(["", *(word for pair in arguments.items() for word in pair)])
            if not converted.exists():
                raise RuntimeError(f"MNN could not read the network; {REMEDY}")
            config = {"backend": "CPU", "precision": "high", "numThread": torch.get_num_threads()}
            manager = nn.create_runtime_manager((config,))
            return nn.load_module_from_file(str(converted), [IMAGES], [LABELS, FEATURES], runtime_manager=manager)


@contextmanager
def _silence() -> Iterator[None]:
    """MNN prints its greetings from C, past Python's streams."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # C's own buffers, before they would reach the terminal after all
        for stream, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, stream)
            os.close(descriptor)
        os.close(nowhere)
