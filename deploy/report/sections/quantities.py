"""What the columns are called on an axis, and what small charts side by side have in common."""

from __future__ import annotations

from typing import TypedDict

from skymetal.deploy.report.summary import Cloud
from skymetal.deploy.report.words import count, galaxies
from skymetal.train.evaluation.photometry import MASS

OH = "12 + log(O/H)"
LABELS = {
    "prediction": f"predicted {OH}",
    "modelMag_r": "model magnitude, r (mag)",
    "redshift": "redshift",
    "petroR90_r": "Petrosian R90, r (arcsec)",
    MASS: "log stellar mass (solar masses)",
}


class _Size(TypedDict):
    width: float
    height: float


SMALL: _Size = {"width": 280.0, "height": 250.0}
"""The size of a chart that stands beside three others."""


def how_many(shown: Cloud) -> str:
    """Return how many galaxies a cloud is of, and how many are drawn where that is not all."""
    drawn = f" (drawn: a random {count(shown.rows.num_rows)} of them)" if shown.is_sample else ""
    return f"{galaxies(shown.num_galaxies)}{drawn}"
