"""What the ensemble's own galaxies are like: the distributions that new ones are held against.

All of them are held out of the member that measured them, so that the comparison is fair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.flags import Flag
from skymetal.engine.appearance import CONCENTRATION, ROUGHNESS

NUM_STEPS = 200
"""A distribution is kept as its quantiles at steps of half a per cent."""
OH, OOD = "oh_p50", "ood_score"
OOD_LIMIT = 1.0
_FLAGS = {CONCENTRATION: Flag.SIZE_OUT, ROUGHNESS: Flag.TEXTURE_OUT}
"""What an unusual value is flagged as; of the others as COLOUR_OUT."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Quantiles of the held-out galaxies' predictions, ood_score, colours and concentration, and their RMSE, dex."""

    quantiles: Mapping[str, tuple[float, ...]]
    rmse: float
    num_galaxies: int

    @property
    def appearance_names(self) -> tuple[str, ...]:
        """The columns of :func:`engine.appearance.measure_appearance`, in order."""
        return tuple(name for name in self.quantiles if name not in (OH, OOD))

    def limits(self, name: str) -> tuple[float, float]:
        """Return the range that holds 99 % of them."""
        values = self.quantiles[name]
        return values[1], values[-2]


def make_reference(columns: Mapping[str, NDArray[np.floating]], *, rmse: float) -> Reference:
    """Return the reference of some galaxies' values by name."""
    steps = np.linspace(0, 1, NUM_STEPS + 1)
    quantiles = {
        name: tuple(np.quantile(values.astype(np.float64), steps).tolist()) for name, values in columns.items()
    }
    return Reference(quantiles=quantiles, rmse=rmse, num_galaxies=len(next(iter(columns.values()))))


def flag_strangers(
    reference: Reference, appearance_NC: NDArray[np.float32], ood_N: NDArray[np.floating]
) -> NDArray[np.int32]:
    """Return the flags (N,) of galaxies unlike those the ensemble has learnt from."""
    flags_N = np.zeros(len(ood_N), np.int32)
    for name, values_N in zip(reference.appearance_names, appearance_NC.T, strict=True):
        low, high = reference.limits(name)
        flag = _FLAGS.get(name, Flag.COLOUR_OUT)
        flags_N[(values_N < low) | (values_N > high)] |= flag
    flags_N[ood_N > OOD_LIMIT] |= Flag.SCORE_OOD
    return flags_N
