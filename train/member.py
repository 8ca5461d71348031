"""A trained member: its network ready to predict, its files, and the receipt that says it is done.

N galaxies, V views, K labels.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder
from skymetal.engine.pixels import ImageSpec, Normalisation
from skymetal.train.network.inputs import NetworkInput
from skymetal.train.network.network import STAGES, MetallicityNet, in_memory_format
from skymetal.train.network.views import make_views
from skymetal.train.recipe import Augmentation


@dataclass(frozen=True, kw_only=True)
class MemberReceipt:
    """Proof that the member of ``fold`` is trained. history is (train_rmse, held_out_rmse) an epoch, dex."""

    plan_digest: str
    fold: int
    weights_file: str
    weights_digest: str
    predictions_file: str
    predictions_digest: str
    label_mean: tuple[float, ...]
    label_std: tuple[float, ...]
    normalisation: Normalisation
    history: tuple[tuple[float, float], ...]

    def to_json(self) -> bytes:
        """Return the receipt as bytes that depend on its values alone."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> MemberReceipt:
        """Return the receipt that those bytes record."""
        content = json.loads(data)
        pixels = content.pop("normalisation")
        content["label_mean"] = tuple(content["label_mean"])
        content["label_std"] = tuple(content["label_std"])
        content["history"] = tuple((train, held_out) for train, held_out in content["history"])
        return cls(normalisation=Normalisation(mean=tuple(pixels["mean"]), std=tuple(pixels["std"])), **content)


def receipt_name(fold: int) -> str:
    """Return the name of a fold's receipt in the ensemble folder."""
    return f"fold{fold}.json"


def find_receipt(folder: Folder, fold: int, *, plan_digest: str) -> MemberReceipt | None:
    """Return a fold's receipt, or None where it is not trained, or a file of it is lost.

    Raises InputError where another plan trained it: the two must not be mixed in one ensemble. Raises RuntimeError
    for a receipt that cannot be read.
    """
    try:
        receipt = MemberReceipt.from_json(folder.read(receipt_name(fold)))
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        message = f"{folder}/{receipt_name(fold)} is damaged; delete it and run `skymetal train` again"
        raise RuntimeError(message) from error
    if receipt.plan_digest != plan_digest:
        raise InputError(
            f"{folder}/{receipt_name(fold)} was trained on other data or with other settings than this job's; "
            "name another [job] run_dir, or restore the settings"
        )
    is_there = folder.exists(receipt.weights_file) and folder.exists(receipt.predictions_file)
    return receipt if is_there else None


@dataclass(frozen=True, kw_only=True)
class Member:
    """A network in inference form (batch norm folded into the convolutions), and what surrounds it.

    network_input says what it is shown of images of image_spec, augmentation how random views are drawn.
    """

    network: MetallicityNet
    normalisation: Normalisation
    label_mean: tuple[float, ...]
    label_std: tuple[float, ...]
    network_input: NetworkInput
    image_spec: ImageSpec
    augmentation: Augmentation


def fold_batch_norm(network: MetallicityNet) -> MetallicityNet:
    """Return a copy in evaluation mode with every trunk batch norm folded into its convolution (1.1 times faster)."""
    network = copy.deepcopy(network)
    network.eval().requires_grad_(False)
    pairs: list[tuple[nn.Module, str, str]] = [(network, "conv1", "bn1")]
    for stage in STAGES:
        for block in getattr(network, stage):
            pairs += [(block, "conv1", "bn1"), (block, "conv2", "bn2")]
            if block.downsample is not None:
                pairs.append((block.downsample, "0", "1"))
    for owner, convolution, norm in pairs:
        setattr(owner, convolution, fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm)))
        setattr(owner, norm, nn.Identity())
    in_memory_format(network, torch.channels_last)
    return network


def predict_views(member: Member, images_NHWC: Tensor, *, num_views: int, batch_size: int) -> NDArray[np.float32]:
    """Return (N, V, K) predictions in the labels' units for uint8 images on the member's device.

    Every pass has the same shape, batch_size // num_views galaxies (at least one) in all their views, the last
    one padded: so a galaxy's bytes do not depend on the galaxies beside it.
    """
    num_galaxies = max(1, batch_size // num_views)
    num_labels = len(member.label_mean)
    # Scaled on the host in numpy: the same few operations whatever the device.
    mean_K, std_K = np.array(member.label_mean, np.float32), np.array(member.label_std, np.float32)
    out_NVK = np.empty((len(images_NHWC), num_views, num_labels), dtype=np.float32)
    shown_scale = member.network_input.normalisation_shown(member.normalisation, member.image_spec)
    with torch.inference_mode():
        for first in range(0, len(images_NHWC), num_galaxies):
            batch = images_NHWC[first : first + num_galaxies]
            num_real = len(batch)
            if num_real < num_galaxies:
                batch = torch.cat([batch, batch.new_zeros(num_galaxies - num_real, *batch.shape[1:])])
            shown_NCHW = member.network_input.apply(batch, member.normalisation, member.image_spec)
            views = make_views(shown_NCHW, num_views, batch, member.augmentation, shown_scale).flatten(0, 1)
            predicted = member.network(views.contiguous(memory_format=torch.channels_last))
            predicted = predicted.view(num_galaxies, num_views, num_labels)[:num_real].cpu().numpy()
            out_NVK[first : first + num_real] = predicted * std_K + mean_K
    return out_NVK


def choose_device() -> torch.device:
    """Return the GPU if this process sees one, else the CPU. A Dask worker sees its own as number 0."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
