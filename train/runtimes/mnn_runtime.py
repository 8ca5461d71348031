"""The network as MNN runs it: by Winograd's convolutions, in full precision.

MNN's converter is called directly: the Python module around it (``MNN.tools``) installs packages and reports to its
makers when it is imported. It runs in a process and a folder of its own: it keeps the weights in a file of a fixed name
in the working directory meanwhile, and two at once would read each other's. What it makes is kept on this machine.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import copies, digest
from skymetal.train.network.network import MetallicityNet
from skymetal.train.runtimes.choice import mnn_is_installed
from skymetal.train.runtimes.onnx_graph import FEATURES, IMAGES, LABELS, to_onnx
from skymetal.train.runtimes.torch_runtime import TorchRuntime

MAX_DIFFERENCE = 1e-3
NUM_PROVED = 4
_DIGEST_BYTES = 64
_SOURCE, _CONVERTED = "member.onnx", "member.mnn"
_CONVERT = (
    f"import _tools; _tools.mnnconvert(['', '-f', 'ONNX', '--modelFile', '{_SOURCE}', '--MNNModel', '{_CONVERTED}', "
    "'--bizCode', 'MNN'])"
)
REMEDY = "pip install 'skymetal[cpu]', or set [score] runtime = 'torch'"


class MnnRuntime:
    """A :class:`train.runtimes.runtime.Runtime` on the CPU. The first call fixes the shape of all others."""

    def __init__(self, network: MetallicityNet) -> None:
        if not mnn_is_installed():
            raise InputError(f"[score] runtime = 'mnn' needs the packages MNN and onnx, which are not here; {REMEDY}")
        self._network: MetallicityNet | None = network
        self._module: Any = None
        self._shape: tuple[int, ...] = ()

    def run(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, K) standardised labels and (B, F) features."""
        if self._network is not None:
            self._start(self._network, tuple(images_NCHW.shape))
        if tuple(images_NCHW.shape) != self._shape:
            raise ValueError(f"this runtime was started for images {self._shape}, got {tuple(images_NCHW.shape)}")
        labels, features = _compute(self._module, images_NCHW.contiguous().numpy())
        return torch.from_numpy(labels), torch.from_numpy(features)

    def _start(self, network: MetallicityNet, shape: tuple[int, ...]) -> None:
        """Load the network, and prove on some images that it computes what torch does, which is slow."""
        module = _load(network, shape)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        proved = np.unique(np.linspace(0, shape[0] - 1, NUM_PROVED).astype(int))
        for mine, said in zip(_compute(module, noise.numpy()), TorchRuntime(network).run(noise[proved]), strict=True):
            wanted = said.numpy()
            difference, scale = float(np.abs(mine[proved] - wanted).max()), float(np.abs(wanted).max())
            if not difference <= MAX_DIFFERENCE * max(scale, 1.0):
                raise RuntimeError(
                    f"MNN computes other numbers than torch (by {difference:.2g} of {scale:.2g}); {REMEDY}"
                )

        self._shape, self._module, self._network = shape, module, None  # only now: one that failed is tried again


def _compute(module: Any, images_NCHW: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    from MNN import expr  # the extra `cpu`; loaded, silently, with the network

    labels, features = module.onForward([expr.const(images_NCHW, list(images_NCHW.shape), expr.NCHW)])
    # What MNN returns is a view of memory that its next call overwrites.
    return np.array(labels.read(), copy=True), np.array(features.read(), copy=True)


def _load(network: MetallicityNet, shape: tuple[int, ...]) -> Any:
    graph = to_onnx(network, num_images=shape[0], num_bands=shape[1], size_pix=shape[2]).SerializeToString()
    converted = _converted(graph)
    # One thread: with two the sums are taken in another order, and a core a process is faster than two threads.
    config = {"backend": "CPU", "precision": "high", "numThread": 1}
    with _silence():
        from MNN import nn

        manager = nn.create_runtime_manager((config,))
        return nn.load_module_from_file(str(converted), [IMAGES], [LABELS, FEATURES], runtime_manager=manager)


def _converted(graph: bytes) -> Path:
    """Return MNN's own file of an ONNX graph, made once for all processes of this machine.

    The next process, or a worker that takes a dead one's place, has it in a fifth of the time. It ends with its own
    digest, which MNN does not look at: one that was damaged meanwhile is made again.
    """
    for _ in range(2):
        path = copies.keep("mnn", (version("MNN"), digest(graph)), _convert(graph))
        data = path.read_bytes()
        if digest(data[:-_DIGEST_BYTES]).encode() == data[-_DIGEST_BYTES:]:
            return path
        path.unlink(missing_ok=True)
    raise RuntimeError(f"{path} is another file than was written there a moment ago; look at the disk, or set TMPDIR")


def _convert(graph: bytes) -> Iterator[bytes]:
    """Yield what :func:`_converted` keeps, made when it is first asked for."""
    with tempfile.TemporaryDirectory(prefix="skymetal-mnn-") as folder:
        (Path(folder) / _SOURCE).write_bytes(graph)
        result = subprocess.run(
            [sys.executable, "-P", "-c", _CONVERT], cwd=folder, capture_output=True, timeout=600, check=False
        )
        converted = Path(folder) / _CONVERTED
        if result.returncode or not converted.exists():
            raise RuntimeError(f"MNN could not read the network (exit code {result.returncode}); {REMEDY}")
        data = converted.read_bytes()
        yield data
        yield digest(data).encode()


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
