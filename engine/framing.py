"""How much sky a cutout shows, and on which pixels. N galaxies, C bands, H × W pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from skymetal.catalogs.errors import InputError

PETRO5 = "petro5"
FIXED = "fixed"
R90 = "petroR90_r"
BOX_PER_R90 = 5.05
"""The side of the box in petroR90_r that Wu & Boada (2019, section 2.2) cut out."""
SCALE_TOLERANCE = 0.01
MIN_SHARE = 0.5
"""A pixel has data where at least this share of its area has."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """The size rule of a store: ``petro5``, a box of 5.05 × petroR90_r; or ``fixed``, one scale for every galaxy."""

    size_pix: int
    size_rule: str
    pixel_scale_arcsec: float | None = None

    def __post_init__(self) -> None:
        if self.size_rule not in (PETRO5, FIXED):
            raise InputError(f"[images] size_rule must be {PETRO5!r} or {FIXED!r}, got {self.size_rule!r}")
        if self.size_rule == FIXED and self.pixel_scale_arcsec is None:
            raise InputError(
                "[images] size_rule = 'fixed' needs pixel_scale_arcsec; the surveys' own are 0.396 and 0.262"
            )
        if self.size_rule == PETRO5 and self.pixel_scale_arcsec is not None:
            raise InputError(
                "[images] pixel_scale_arcsec has no use with size_rule = 'petro5'; give size_rule = 'fixed'"
            )
        if self.pixel_scale_arcsec is not None and not 0.001 <= self.pixel_scale_arcsec <= 1000:
            raise InputError(f"[images] pixel_scale_arcsec must be 0.001 to 1000, got {self.pixel_scale_arcsec}")

    def __str__(self) -> str:
        return PETRO5 if self.pixel_scale_arcsec is None else f"{self.pixel_scale_arcsec:g} arcsec/pixel"

    def check_columns(self, schema: pa.Schema, *, must_exist: bool = True) -> None:
        """Raise InputError where the rule needs a size that the target list does not have, or has not as a number.

        must_exist is false for ready-made images: without sizes their scale is unknown, and no more than that.
        """
        if self.size_rule != PETRO5:
            return
        if R90 not in schema.names:
            if not must_exist:
                return
            raise InputError(
                f"[images] size_rule = 'petro5' needs the column {R90}, which the target list lacks; "
                "map it in [targets] columns, or give size_rule = 'fixed' and pixel_scale_arcsec"
            )
        kind = schema.field(R90).type
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        if not (is_number or pa.types.is_null(kind)):
            raise InputError(
                f"[images] size_rule = 'petro5' needs {R90} in arcsec, but its column is of type {kind}; see that the "
                "survey table has nothing but numbers there and select again in another [job] run_dir, or give "
                "size_rule = 'fixed' and pixel_scale_arcsec"
            )

    def pixel_scales(self, targets: pa.Table) -> NDArray[np.float64]:
        """Return the arcsec a pixel of every row's cutout, (N,); NaN where the rule gives none."""
        if self.pixel_scale_arcsec is not None:
            return np.full(targets.num_rows, self.pixel_scale_arcsec)
        if R90 not in targets.column_names:
            return np.full(targets.num_rows, np.nan)
        r90_N = targets[R90].cast(pa.float64()).to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):
            scale_N = BOX_PER_R90 * r90_N / self.size_pix
            return np.where((scale_N > 0) & np.isfinite(scale_N), scale_N, np.nan)


def wrong_scale(told: float | None, *, expected: float) -> str:
    """Return a reason where the image itself tells another scale than the size rule gives."""
    if told is None or np.isnan(expected) or abs(told / expected - 1) <= SCALE_TOLERANCE:
        return ""
    return f"wrong scale: {told:.4g} arcsec/pixel by its WCS, {expected:.4g} by the size rule"


def resample(
    planes_CHW: NDArray[np.float32], *, box: tuple[float, float, float, float], size_pix: int
) -> NDArray[np.float32]:
    """Return the part of the planes in ``box`` (left, top, right, bottom, pixels) on size_pix × size_pix × C.

    NaN is no data, in and out: a pixel has data where half of it has. Surface brightness is kept, so values stay
    "per source pixel". The box must lie within the planes.
    """
    left, top, right, bottom = box
    is_whole = all(edge == round(edge) for edge in box)
    if is_whole and right - left == bottom - top == size_pix:
        part_CHW = planes_CHW[:, int(top) : int(bottom), int(left) : int(right)]
        return np.ascontiguousarray(part_CHW.transpose(1, 2, 0))
    out_HWC = np.empty((size_pix, size_pix, len(planes_CHW)), np.float32)
    for band, plane_HW in enumerate(planes_CHW):
        has_data_HW = ~np.isnan(plane_HW)
        light_HW = _resize(np.where(has_data_HW, plane_HW, 0), box, size_pix)
        if not has_data_HW.all():
            share_HW = _resize(has_data_HW, box, size_pix)
            with np.errstate(divide="ignore", invalid="ignore"):
                light_HW = np.where(share_HW >= MIN_SHARE, light_HW / share_HW, np.nan)
        out_HWC[:, :, band] = light_HW
    return out_HWC


def _resize(
    plane_HW: NDArray[np.generic], box: tuple[float, float, float, float], size_pix: int
) -> NDArray[np.float32]:
    image = Image.fromarray(np.ascontiguousarray(plane_HW, dtype=np.float32))
    return np.asarray(image.resize((size_pix, size_pix), Image.Resampling.BILINEAR, box=box))
