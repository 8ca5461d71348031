"""What the sources of FITS images share: flux from the decoder, made a cutout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.flags import Flag
from skymetal.engine.decoding.client import Undecodable, as_reason
from skymetal.engine.rendering import Rendering
from skymetal.engine.sources import Cutout

_ALL_FLAGS = sum(Flag)


@dataclass(frozen=True, kw_only=True)
class FluxCutout:
    """One galaxy's light, (H, W, C) float32 with NaN for no data, row 0 on top; or the reason why there is none."""

    flux_HWC: NDArray[np.float32] | None
    reason: str = ""
    flags: Flag = field(default=Flag(0))
    pixel_scale_arcsec: float | None = None


def refused(error: Undecodable) -> FluxCutout:
    """Return what is left of a cutout that could not be decoded."""
    return FluxCutout(flux_HWC=None, reason=str(error), flags=Flag(error.flags & _ALL_FLAGS))


def parse_answer(fields: dict[str, Any], flux_HWC: NDArray[np.float32] | None) -> FluxCutout:
    """Return the decoder's answer; nothing that it says is trusted to be of the right kind."""
    reason, flags, scale = as_reason(fields.get("reason")), fields.get("flags"), fields.get("scale_arcsec")
    if flux_HWC is None and not reason:
        reason = "crashed the decoder: it gave neither pixels nor a reason"
    has_scale = isinstance(scale, float) and 0 < scale < np.inf
    return FluxCutout(
        flux_HWC=None if reason else flux_HWC,
        reason=reason,
        flags=Flag(flags & _ALL_FLAGS) if isinstance(flags, int) else Flag(0),
        pixel_scale_arcsec=scale if has_scale else None,
    )


def render_cutout(cutout: FluxCutout, *, source: str, rendering: Rendering) -> Cutout:
    """Return the cutout as it is stored. No data become 0, and are flagged PADDED."""
    if cutout.flux_HWC is None:
        return Cutout(pixels=None, source=source, reason=cutout.reason, flags=cutout.flags)
    has_gaps = bool(np.isnan(cutout.flux_HWC).any())
    return Cutout(
        pixels=rendering.render(cutout.flux_HWC),
        source=source,
        flags=cutout.flags | (Flag.PADDED if has_gaps else Flag(0)),
        pixel_scale_arcsec=cutout.pixel_scale_arcsec,
    )
