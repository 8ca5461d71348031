"""A look at a few images before any work: whether the job says of them what they are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.targets import TargetList
from skymetal.engine.framing import Framing, wrong_scale
from skymetal.engine.sources import ImageSource

NUM_TRIED = 32
MIN_ALIKE = 4
OF_THE_JOB = (
    "wrong size",
    "wrong mode",
    "wrong shape",
    "wrong scale",
    "unknown bands",
    "unknown image",
    "missing band: the file has",
    "bands differ",
)
"""How reasons begin that speak of what the job says. A file that is lost, torn or blank says nothing of the others."""


def refuse_unlike_images(source: ImageSource, targets: TargetList, framing: Framing) -> None:
    """Raise InputError where, of images from all over the list, none is what the job says it is.

    One that can be used is enough, and ends the look; fewer than four that cannot are too few to tell.
    """
    table = _sample(targets)
    scales = framing.pixel_scales(table).tolist()
    unlike = []
    for cutout, scale in zip(source.read(table), scales, strict=True):
        reason = cutout.reason or wrong_scale(cutout.pixel_scale_arcsec, expected=scale)
        if not reason:
            return
        if reason.startswith(OF_THE_JOB):
            unlike.append((cutout.source, reason))
    if len(unlike) >= MIN_ALIKE:
        name, reason = unlike[0]
        raise InputError(
            f"[images] none of {len(unlike)} images from all over the list can be used, such as {name!r}: {reason}; "
            "say what the images are, or mend them"
        )


def _sample(targets: TargetList) -> pa.Table:
    """Return rows at equal distances, the first and the last among them."""
    last = targets.num_rows - 1
    rows = np.unique(np.linspace(0, last, min(NUM_TRIED, targets.num_rows)).astype(int)).tolist()
    return pa.concat_tables([targets.read(row, row + 1) for row in rows])
