"""Cutouts of the simulated survey: drawn from each row of its table, so there is nothing to download.

How the pictures are made is in ``simulated_galaxy`` and ``simulated_sky``. Arithmetic is in float64 throughout:
where two machines differ in the last digit, they all but never differ in an 8-bit grey level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.simulated import bulge_fraction, main_sequence
from skymetal.catalogs.targets import TargetList
from skymetal.engine.framing import BOX_PER_R90
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.simulated_galaxy import BANDS, Frame, Galaxy, galaxy_light
from skymetal.engine.sources.simulated_sky import (
    add_neighbours,
    add_saturated_star,
    add_stars,
    blur_and_add_noise,
    stretch,
)

BLANK_FRACTION = 0.004
SATURATED_FRACTION = 0.004
REQUIRED_COLUMNS = (
    "object_id",
    "modelMag_g",
    "modelMag_r",
    "modelMag_i",
    "petroR50_r",
    "petroR90_r",
    "lgm_tot_p50",
    "sfr_tot_p50",
    "oh_true",
)


@dataclass(frozen=True, kw_only=True)
class SimulatedSource:
    """Draws a row's cutout: (size_pix, size_pix, 3) uint8, R, G, B = i, r, g, a box of 5.05 petroR90_r.

    A galaxy's random numbers come from ``seed`` and its object_id alone: its bytes are the same in whatever
    block or process it is drawn. A few frames are blank (no data) or spoilt by a saturated star, as in a real survey.
    """

    size_pix: int
    seed: int

    def __post_init__(self) -> None:
        if self.size_pix < 4:
            raise InputError(f"size_pix of simulated images is {self.size_pix}; give 4 or more")
        if self.seed < 0:
            raise InputError(f"the seed of simulated images is {self.seed}; give 0 or more")

    def check(self, targets: TargetList) -> None:
        """Raise InputError where columns that the images are drawn from are missing or null."""
        for table in targets.iter_tables([name for name in REQUIRED_COLUMNS if name in targets.column_names]):
            _check_columns(table)

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        """Return one cutout a row, in order; raise InputError, before any, where columns are missing or null."""
        galaxies = _galaxies(targets)
        return (self._draw(galaxy) for galaxy in galaxies)

    def _draw(self, galaxy: Galaxy) -> Cutout:
        rng = np.random.default_rng([self.seed, galaxy.object_id])
        frame = Frame(size_pix=self.size_pix, scale_arcsec=BOX_PER_R90 * galaxy.r90_arcsec / self.size_pix)
        fate = rng.random()
        if fate < BLANK_FRACTION:
            pixels = np.zeros((self.size_pix, self.size_pix, 3), np.uint8)
        else:
            light_CHW = galaxy_light(rng, galaxy, frame)
            add_neighbours(rng, light_CHW, frame)
            blur_and_add_noise(rng, light_CHW, frame)
            add_stars(rng, light_CHW, frame)
            if fate > 1.0 - SATURATED_FRACTION:
                add_saturated_star(rng, light_CHW, frame)
            pixels = stretch(light_CHW)
        return Cutout(pixels=pixels, source=f"simulated:{self.seed}")


def _check_columns(targets: pa.Table) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in targets.column_names]
    if missing:
        raise InputError(
            f"simulated images need the column(s) {', '.join(missing)}, which the target list lacks; "
            "make the survey table with simulate_survey, or choose another [images] source"
        )
    null = [name for name in REQUIRED_COLUMNS if targets[name].null_count]
    if null:
        raise InputError(f"simulated images need a value in every row of {', '.join(null)}; drop the rows with nulls")


def _galaxies(targets: pa.Table) -> list[Galaxy]:
    _check_columns(targets)
    object_id_N = targets["object_id"].to_numpy()
    column = {name: targets[name].to_numpy().astype(np.float64) for name in REQUIRED_COLUMNS[1:]}
    flux_NC = 10 ** (0.4 * (22.5 - np.stack([column[f"modelMag_{band}"] for band in BANDS], axis=-1)))
    bulge_N = bulge_fraction(column["petroR50_r"], column["petroR90_r"])
    excess_N = column["sfr_tot_p50"] - main_sequence(column["lgm_tot_p50"])
    return [
        Galaxy(
            object_id=int(object_id_N[n]),
            flux_per_band=flux_NC[n],
            r50_arcsec=float(column["petroR50_r"][n]),
            r90_arcsec=float(column["petroR90_r"][n]),
            bulge=float(bulge_N[n]),
            lgm=float(column["lgm_tot_p50"][n]),
            excess=float(excess_N[n]),
            oh=float(column["oh_true"][n]),
        )
        for n in range(len(object_id_N))
    ]
