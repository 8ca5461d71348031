"""From stored pixels to the network's input. N galaxies, C bands."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from skymetal.engine.pixels import ImageSpec, Normalisation
from skymetal.train.network.inputs import NetworkInput


def show(network_input: NetworkInput, images_NHWC: Tensor, normalisation: Normalisation, spec: ImageSpec) -> Tensor:
    """Return uint8 images as normalised float32 (N, C, H, W), channels_last in memory."""
    return _normalise(select_levels(network_input, images_NHWC, spec), normalisation)


def select_levels(network_input: NetworkInput, images_NHWC: Tensor, spec: ImageSpec) -> Tensor:
    """Return the grey levels that are shown: one band in place of all, pixels averaged, where that is asked for."""
    if network_input.band:
        channel = spec.bands.index(network_input.band)
        images_NHWC = images_NHWC[..., channel : channel + 1].expand_as(images_NHWC)
    if network_input.resolution_pix is None:
        return images_NHWC
    factor = spec.size_pix // network_input.resolution_pix
    small_NCHW = functional.avg_pool2d(images_NHWC.permute(0, 3, 1, 2).float(), factor).round().to(torch.uint8)
    return small_NCHW.repeat_interleave(factor, 2).repeat_interleave(factor, 3).permute(0, 2, 3, 1)


def _normalise(images_NHWC: Tensor, normalisation: Normalisation) -> Tensor:
    """Return (N, C, H, W) by looking up every grey level: P pixels, the same numbers on every device."""
    table_CLC = _table(normalisation, images_NHWC.device)
    level_CP = [images_NHWC[..., band].reshape(-1).int() for band in range(images_NHWC.shape[-1])]
    shown_PC = table_CLC[0].index_select(0, level_CP[0])
    for table_LC, level_P in zip(table_CLC[1:], level_CP[1:], strict=True):
        shown_PC += table_LC.index_select(0, level_P)
    return shown_PC.view(images_NHWC.shape).permute(0, 3, 1, 2)


@lru_cache(maxsize=16)
def _table(normalisation: Normalisation, device: torch.device) -> Tensor:
    """Return (C, L, C): of each band, what its grey levels add to all channels, side by side to be looked up at once.

    Kept, as a host that copies it to a GPU for every batch waits each time until the GPU has nothing left to do.
    """
    with torch.inference_mode(mode=False):  # kept for whoever asks next
        return torch.from_numpy(normalisation.table_CCL).to(device).permute(1, 2, 0).contiguous()
