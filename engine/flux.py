"""Flux as files give it, made the flux of a cutout: what is no data, what is kept, and on which pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.flags import Flag
from skymetal.engine.framing import resample
from skymetal.engine.quality import inspect_coverage


def no_data_as_nan(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return float32, with NaN where there is NaN, infinity or exactly 0: surveys write 0 where they have no image."""
    with np.errstate(over="ignore", invalid="ignore"):
        flux: NDArray[np.float32] = values.astype(np.float32)  # a copy, in the machine's byte order
    flux[~np.isfinite(flux) | (flux == 0)] = np.nan
    return flux


def crop_flux(
    planes_CHW: NDArray[Any], *, crop_pix: int, size_pix: int, bands: Sequence[str]
) -> tuple[NDArray[np.float32] | None, Flag, str]:
    """Return (flux, flags, reason) of the middle crop_pix of square planes, row 0 on top, on size_pix pixels.

    flux is (H, W, C), NaN for no data; or None, and then the reason says why.
    """
    flux_CHW = no_data_as_nan(planes_CHW)
    low = (flux_CHW.shape[1] - crop_pix) / 2
    inside = slice(math.floor(low), math.ceil(low + crop_pix))
    flags, reason = inspect_coverage(~np.isnan(flux_CHW[:, inside, inside]), bands)
    if reason:
        return None, flags, reason
    return resample(flux_CHW, box=(low, low, low + crop_pix, low + crop_pix), size_pix=size_pix), flags, ""
