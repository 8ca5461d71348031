"""Where a network's weights begin: at random, at ImageNet's, or at those of a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import digest, file_digest, open_folder
from skymetal.catalogs.web.answers import FetchFailed
from skymetal.catalogs.web.http import FetchLimits, fetch_patiently
from skymetal.train.network.network import MetallicityNet
from skymetal.train.settings import IMAGENET_INIT, RANDOM_INIT

IMAGENET_URL = "https://download.pytorch.org/models/resnet34-b627a593.pth"
IMAGENET_SHA256_PREFIX = "b627a593"
"""torchvision names its files by the first digits of their SHA-256."""
_IMAGENET_LIMITS = FetchLimits(max_bytes=120 << 20, deadline_s=900.0, attempts=3, total_s=1800.0)
_LAST_LAYER = ("head.6.weight", "head.6.bias")


def find_init(init: str, *, cache: Path, url: str = IMAGENET_URL) -> tuple[str, str]:
    """Return the file that ``init`` means and its digest, both ``random`` where there is none.

    ImageNet's weights are fetched into ``cache`` once and their digest is checked. Raises InputError where there is
    no such file, or where it cannot be had, and then says how to get it by hand.
    """
    if init == RANDOM_INIT:
        return RANDOM_INIT, RANDOM_INIT
    path = _imagenet_file(cache, url) if init == IMAGENET_INIT else Path(init)
    if not path.is_file():
        raise InputError(
            f"[train] init = {init!r} is no file: give {RANDOM_INIT!r}, {IMAGENET_INIT!r}, a torchvision resnet34 "
            "file, or the .safetensors file of a member of an ensemble"
        )
    return str(path), file_digest(path)


def load_init(network: MetallicityNet, path: str | Path) -> None:
    """Copy a file's weights into the network; nothing in the file is executed.

    Takes a torchvision ``resnet34`` file, ``.safetensors`` or what ``torch.save`` wrote of a state dict, whose
    ``fc.*`` is not used; or a member of an ensemble, whose last layer is used where it has as many labels. Raises
    InputError naming the first missing, extra or misshapen tensor.
    """
    found = {name: tensor for name, tensor in _read_weights(Path(path)).items() if not name.startswith("fc.")}
    is_member = any(name.startswith("head.") for name in found)
    wanted = network.state_dict() if is_member else network.trunk_state()
    if is_member and any(name in found and found[name].shape != wanted[name].shape for name in _LAST_LAYER):
        for name in _LAST_LAYER:
            found.pop(name, None)
            wanted.pop(name)
    # Files from before torch 0.4.1 lack these counters, and nothing here reads them.
    counters = {name: tensor for name, tensor in wanted.items() if name.endswith(".num_batches_tracked")}
    found = {**counters, **found}
    for name in (*wanted, *found):
        if name not in found:
            raise InputError(f"{path} lacks the tensor {name!r}: give a torchvision resnet34 file or a member's")
        if name not in wanted:
            raise InputError(f"{path} has a tensor {name!r} that resnet34 lacks: give a torchvision resnet34 file")
        if found[name].shape != wanted[name].shape:
            got, want = tuple(found[name].shape), tuple(wanted[name].shape)
            raise InputError(f"{path}: {name!r} has shape {got}, resnet34 has {want}: give a torchvision resnet34 file")
        if not bool(torch.isfinite(found[name]).all()):
            raise InputError(f"{path}: {name!r} has values that are not finite: the file is damaged; fetch it again")
    network.load_state_dict(found, strict=False)


def is_torchvision(init: str) -> bool:
    """Tell whether training begins with a file of torchvision's, which knows pixels on ImageNet's scale alone."""
    return init != RANDOM_INIT and not any(name.startswith("head.") for name in _read_weights(Path(init)))


def _imagenet_file(cache: Path, url: str) -> Path:
    name = url.rsplit("/", 1)[1]
    folder = open_folder(cache)
    by_hand = f"get {url} by another way and give its path as [train] init"
    if not folder.exists(name):
        try:
            body = fetch_patiently(url, limits=_IMAGENET_LIMITS, user_agent="skymetal").body
        except FetchFailed as error:
            raise InputError(f"[train] init = 'imagenet': {url} cannot be fetched ({error}); {by_hand}") from error
        if not digest(body).startswith(IMAGENET_SHA256_PREFIX):
            raise InputError(f"[train] init = 'imagenet': what {url} sent is not torchvision's file; {by_hand}")
        folder.write(name, body)
    elif not folder.digest(name).startswith(IMAGENET_SHA256_PREFIX):
        raise InputError(f"{folder}/{name} is not torchvision's resnet34, or damaged; delete it and train again")
    return folder.local_copy(name)


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise InputError(f'[train] init = {str(path)!r} is not a file: give a torchvision resnet34 file, or "random"')
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes its reader fail in a dozen ways, and some advise to trust it
        raise InputError(
            f"{path} cannot be read as weights ({type(error).__name__}): it is damaged, holds more than numbers, or is "
            "another kind of file; give a torchvision resnet34 file"
        ) from error
    if not isinstance(content, dict) or not all(_is_weight(name, value) for name, value in content.items()):
        raise InputError(f"{path} does not hold a state dict: save model.state_dict() of a torchvision resnet34")
    return dict(content)


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)
