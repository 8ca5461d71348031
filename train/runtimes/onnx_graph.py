"""The network as an ONNX graph: what other runtimes read. B images, K labels, F features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from skymetal.train.network.network import STAGES, MetallicityNet

IMAGES, LABELS, FEATURES = "images", "labels", "features"
_OPSET = 13


@dataclass
class _Graph:
    nodes: list[tuple[str, list[str], str, dict[str, Any]]] = field(default_factory=list)
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append((kind, inputs, output, attributes))
        return output

    def weight(self, name: str, values: NDArray[Any]) -> str:
        self.weights[name] = np.ascontiguousarray(values, np.float32)
        return name

    def convolution(self, x: str, layer: nn.Conv2d, name: str) -> str:
        assert layer.bias is not None  # the batch norm is folded in
        weights = [self.weight(f"{name}.{part}", getattr(layer, part).numpy(force=True)) for part in ("weight", "bias")]
        pads = [int(pad) for pad in layer.padding] * 2
        shape = {"kernel_shape": list(layer.kernel_size), "strides": list(layer.stride), "pads": pads}
        return self.add("Conv", [x, *weights], name, **shape)

    def linear(self, x: str, norm: nn.BatchNorm1d, layer: nn.Linear, name: str) -> str:
        """Add a linear layer with the batch norm before it folded in."""
        scale, shift = _as_affine(norm)
        weight = layer.weight.numpy(force=True).astype(np.float64)
        bias = layer.bias.numpy(force=True) + weight @ shift
        weights = [self.weight(f"{name}.weight", weight * scale), self.weight(f"{name}.bias", bias)]
        return self.add("Gemm", [x, *weights], name, transB=1)


def to_onnx(network: MetallicityNet, *, num_images: int, num_bands: int, size_pix: int) -> Any:
    """Return the onnx.ModelProto of a network whose trunk's batch norms are folded, for batches of one shape.

    Its input is float32 (B, C, H, W), normalised; its outputs are standardised labels (B, K) and features (B, F).
    """
    from onnx import TensorProto, helper, numpy_helper  # the extra `cpu`

    graph = _Graph()
    x = graph.add("Relu", [graph.convolution(IMAGES, network.conv1, "conv1")], "stem")
    x = graph.add("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage in STAGES:
        for number, block in enumerate(getattr(network, stage)):
            name = f"{stage}.{number}"
            shortcut = x if block.downsample is None else graph.convolution(x, block.downsample[0], f"{name}.shortcut")
            inner = graph.add("Relu", [graph.convolution(x, block.conv1, f"{name}.conv1")], f"{name}.inner")
            outer = graph.add("Add", [graph.convolution(inner, block.conv2, f"{name}.conv2"), shortcut], f"{name}.sum")
            x = graph.add("Relu", [outer], name)
    pools = [graph.add("GlobalMaxPool", [x], "largest"), graph.add("GlobalAveragePool", [x], "mean")]
    pooled = graph.add("Flatten", [graph.add("Concat", pools, "pools", axis=1)], "pooled")
    norms = [layer for layer in network.head if isinstance(layer, nn.BatchNorm1d)]
    hidden, last = (layer for layer in network.head if isinstance(layer, nn.Linear))
    graph.add("Relu", [graph.linear(pooled, norms[0], hidden, "hidden")], FEATURES)
    graph.linear(FEATURES, norms[1], last, LABELS)
    shape = [num_images, num_bands, size_pix, size_pix]
    outputs = {LABELS: last.out_features, FEATURES: last.in_features}
    proto = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **given) for kind, inputs, output, given in graph.nodes],
        "MetallicityNet",
        [helper.make_tensor_value_info(IMAGES, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [num_images, n]) for name, n in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in graph.weights.items()],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", _OPSET)])


def _as_affine(norm: nn.BatchNorm1d) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (scale, shift), so that ``norm(x) = x * scale + shift`` in evaluation."""
    names = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, variance = (getattr(norm, name).numpy(force=True).astype(np.float64) for name in names)
    scale = weight / np.sqrt(variance + norm.eps)
    return scale, bias - mean * scale
