"""Where cutouts come from: one small module a kind of source, all behind :class:`ImageSource`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.flags import Flag
from skymetal.catalogs.targets import TargetList


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """One galaxy's image, or the reason why there is none.

    pixels is (H, W, C), uint8 or float32, row 0 at the top of the picture; or None for a quarantined galaxy, and
    then ``reason`` says why. ``source`` names the file or service that was asked. flags are what the source alone
    can know, such as EDGE. pixel_scale_arcsec is the scale where the image itself told it.
    """

    pixels: NDArray[Any] | None
    source: str
    reason: str = ""
    flags: Flag = Flag(0)
    pixel_scale_arcsec: float | None = None

    def __post_init__(self) -> None:
        if (self.pixels is None) != bool(self.reason):
            raise ValueError("a cutout has pixels, or a reason why it has none")


class ImageSource(Protocol):
    """Reads cutouts. Instances are small and picklable: they travel to the workers."""

    def check(self, targets: TargetList) -> None:
        """Raise InputError, before any work, where the source cannot serve these targets."""
        ...

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        """Yield one cutout a target, in the order of the rows. A bad image is a reason, never an exception."""
        ...
