"""A trained member: its network ready to predict, its files, and the receipt that says it is done.

N galaxies, V views, K labels, F features.
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
from skymetal.catalogs.storage import Folder, digest
from skymetal.engine.pixels import ImageSpec, Normalisation
from skymetal.train.network.inputs import NetworkInput
from skymetal.train.network.network import NUM_FEATURES, STAGES, MetallicityNet, in_memory_format
from skymetal.train.network.views import make_views
from skymetal.train.recipe import Augmentation
from skymetal.train.runtimes.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class MemberFile:
    """A file of a trained member, named by its own digest."""

    name: str
    sha256: str

    @classmethod
    def of(cls, fold: int, kind: str, data: bytes) -> MemberFile:
        """Return the name under which those bytes are kept."""
        sha256 = digest(data)
        return cls(name=f"fold{fold}-{sha256[:12]}{_ENDINGS[kind]}", sha256=sha256)


_ENDINGS = {"weights": ".safetensors", "features": ".features", "predictions": ".parquet"}


@dataclass(frozen=True, kw_only=True)
class MemberReceipt:
    """Proof that the member of ``fold`` is trained. history is (train_rmse, held_out_rmse) an epoch, dex."""

    plan_digest: str
    fold: int
    weights: MemberFile
    features: MemberFile
    predictions: MemberFile
    label_mean: tuple[float, ...]
    label_std: tuple[float, ...]
    normalisation: Normalisation
    history: tuple[tuple[float, float], ...]

    @property
    def files(self) -> tuple[MemberFile, ...]:
        """All that belongs to the member."""
        return self.weights, self.features, self.predictions

    def to_json(self) -> bytes:
        """Return the receipt as bytes that depend on its values alone."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> MemberReceipt:
        """Return the receipt that those bytes record."""
        content = json.loads(data)
        normalisation = Normalisation.from_dict(content.pop("normalisation"))
        content |= {kind: MemberFile(**content[kind]) for kind in _ENDINGS}
        content["label_mean"] = tuple(content["label_mean"])
        content["label_std"] = tuple(content["label_std"])
        content["history"] = tuple((train, held_out) for train, held_out in content["history"])
        return cls(normalisation=normalisation, **content)


def receipt_name(fold: int) -> str:
    """Return the name of a fold's receipt in the ensemble folder."""
    return f"fold{fold}.json"


def find_receipt(folder: Folder, fold: int, *, plan_digest: str) -> MemberReceipt | None:
    """Return a fold's receipt, or None where it is not trained, or a file of it is lost.

    Raises InputError where another plan trained it: the two must not be mixed in one ensemble. Raises RuntimeError
    for a receipt that cannot be read.
    """
    try:
        data = folder.read(receipt_name(fold))
        is_of_plan = json.loads(data)["plan_digest"] == plan_digest
        receipt = MemberReceipt.from_json(data) if is_of_plan else None
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        message = f"{folder}/{receipt_name(fold)} is damaged; delete it and run `skymetal train` again"
        raise RuntimeError(message) from error
    if receipt is None:
        raise InputError(
            f"{folder}/{receipt_name(fold)} was trained on other data or with other settings than this job's; "
            "name another [job] run_dir, or restore the settings"
        )
    is_there = all(folder.exists(file.name) for file in receipt.files)
    return receipt if is_there else None


@dataclass(frozen=True, kw_only=True)
class Member:
    """A network in inference form, as its runtime computes it, and what surrounds it.

    network_input says what it is shown of images of image_spec, augmentation how random views are drawn.
    """

    runtime: Runtime
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


@dataclass(frozen=True, kw_only=True)
class MemberPredictions:
    """What one member says: labels_NVK in the labels' units; features_NF of each image as it is."""

    labels_NVK: NDArray[np.float32]
    features_NF: NDArray[np.float32]


def predict_views(member: Member, images_NHWC: Tensor, *, num_views: int, batch_size: int) -> MemberPredictions:
    """Return the predictions for uint8 images on the member's device, in num_views views.

    Every pass has the same shape, batch_size // num_views galaxies (at least one) in all their views, the last
    one padded: so a galaxy's bytes do not depend on the other galaxies of the call.
    """
    num_galaxies = max(1, batch_size // num_views)
    num_labels = len(member.label_mean)
    # Collected on the device, so that it never waits for the host.
    labels_NVK = images_NHWC.new_empty((len(images_NHWC), num_views, num_labels), dtype=torch.float32)
    features_NF = images_NHWC.new_empty((len(images_NHWC), NUM_FEATURES), dtype=torch.float32)
    with torch.inference_mode():
        for first in range(0, len(images_NHWC), num_galaxies):
            batch = images_NHWC[first : first + num_galaxies]
            num_real = len(batch)
            if num_real < num_galaxies:
                batch = torch.cat([batch, batch.new_zeros(num_galaxies - num_real, *batch.shape[1:])])
            shown_NCHW = member.network_input.apply(batch, member.normalisation, member.image_spec)
            views = make_views(shown_NCHW, num_views, batch, member.augmentation, member.normalisation).flatten(0, 1)
            labels, features = member.runtime.run(views)
            rows = slice(first, first + num_real)
            labels_NVK[rows] = labels.view(num_galaxies, num_views, num_labels)[:num_real]
            features_NF[rows] = features.view(num_galaxies, num_views, NUM_FEATURES)[:num_real, 0]
        # Scaled on the host in numpy: the same few operations whatever the device.
        mean_K, std_K = np.array(member.label_mean, np.float32), np.array(member.label_std, np.float32)
        return MemberPredictions(
            labels_NVK=labels_NVK.cpu().numpy() * std_K + mean_K, features_NF=features_NF.cpu().numpy()
        )
