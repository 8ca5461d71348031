"""From flux to the pixels that are stored: kept as flux, or made a colour picture."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError

FLUX = "flux"
LUPTON = "lupton"


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """``flux`` keeps float32 values; ``lupton`` makes uint8 RGB by Lupton et al. (2004, PASP 116, 133).

    The numbers are those of ``astropy.visualization.make_lupton_rgb``, in the unit of the flux: light at ``minimum``
    is black, ``stretch`` is how fast a picture brightens, ``q`` how much of bright centres remains to be seen. Before
    that each band is multiplied by its scale, red first: galaxies are so much brighter in red bands that all would look
    alike orange. The default scales are those of SDSS pictures from i, r, g in the Legacy Surveys' viewer.
    """

    kind: str
    q: float = 8.0
    stretch: float = 0.2
    minimum: float = 0.0
    scales: tuple[float, ...] = (1.0, 1.5, 2.5)

    def __post_init__(self) -> None:
        if not (0 < self.q <= 1e10 and 0 < self.stretch < np.inf and np.isfinite(self.minimum)):
            raise InputError(
                "[images] lupton_q and lupton_stretch must be above 0 and finite, "
                f"got {self.q}, {self.stretch} and lupton_minimum {self.minimum}"
            )
        if len(self.scales) != 3 or not all(0 < scale < np.inf for scale in self.scales):
            raise InputError(f"[images] lupton_scales must be 3 numbers above 0, red first, got {list(self.scales)}")

    def __str__(self) -> str:
        if self.kind == FLUX:
            return FLUX
        scales = ",".join(f"{scale:g}" for scale in self.scales)
        return f"lupton Q={self.q:g} stretch={self.stretch:g} minimum={self.minimum:g} scales={scales}"

    def render(self, flux_HWC: NDArray[np.float32]) -> NDArray[Any]:
        """Return the stored pixels (H, W, C) of one cutout; no data (NaN) becomes flux 0."""
        filled_HWC = np.nan_to_num(flux_HWC, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
        if self.kind == FLUX:
            return filled_HWC
        # Imported at the first picture: it loads matplotlib, which a look at the job file need not wait for.
        make_lupton_rgb = import_module("astropy.visualization").make_lupton_rgb
        red, green, blue = np.moveaxis(filled_HWC.astype(np.float64) * self.scales, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):  # where there is no light at all, astropy divides by it
            rgb: NDArray[np.uint8] = make_lupton_rgb(
                red, green, blue, minimum=self.minimum, stretch=self.stretch, Q=self.q
            )
        return rgb
