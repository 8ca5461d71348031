"""The light of one simulated galaxy, before the atmosphere and the camera.

A galaxy is a bulge, an inclined exponential disc with a younger, spiral part, and knots of star formation. How
the light is shared among them depends on the galaxy's metallicity, mass and star formation rate: that is what an
image tells beyond its colours. Fluxes are in nanomaggies; a surface brightness is per SDSS pixel of 0.396 arcsec.
Arrays: C bands (i, r, g), P parts, H rows, W columns, K knots. Nothing here calls BLAS, whose sums depend on the
number of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BANDS = ("i", "r", "g")
NATIVE_PIXEL_ARCSEC = 0.396
_TABLE_SIZE = 1024
# In disc lengths: beyond, a disc is as dark as there.
_EDGE = 14.0


@dataclass(frozen=True, kw_only=True)
class Galaxy:
    """What the drawing needs of a row; excess is log SFR above the main sequence, dex."""

    object_id: int
    flux_per_band: Floats
    r50_arcsec: float
    r90_arcsec: float
    bulge: float
    lgm: float
    excess: float
    oh: float


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The pixel grid of one cutout; positions in arcsec from its centre."""

    size_pix: int
    scale_arcsec: float

    @property
    def box_arcsec(self) -> float:
        """The side of the cutout."""
        return self.size_pix * self.scale_arcsec

    @property
    def axis(self) -> Floats:
        """The pixels' centres along either side, (W,)."""
        return (np.arange(self.size_pix, dtype=np.float64) - (self.size_pix - 1) / 2) * self.scale_arcsec

    @property
    def brightness(self) -> float:
        """Surface brightness of a cutout's pixel that holds one nanomaggie."""
        return (NATIVE_PIXEL_ARCSEC / self.scale_arcsec) ** 2


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """How one galaxy happens to lie and to be wound: lengths in arcsec, angles in radians."""

    position_angle: float
    flattening: float
    disc_length: float
    arm_contrast: float
    arm_phase: float
    winding: float
    lopsided: float


def _draw_shape(rng: np.random.Generator, galaxy: Galaxy) -> _Shape:
    cosine = rng.uniform(0.0, 1.0)
    flattening = math.sqrt(cosine**2 + 0.15**2 * (1.0 - cosine**2))
    # A circular aperture sees an edge-on disc as smaller than it is, and a bulge draws the radius in.
    disc_length = galaxy.r50_arcsec * (0.85 + 0.5 * galaxy.bulge) / (0.7 + 0.3 * flattening)
    return _Shape(
        position_angle=rng.uniform(0.0, 2.0 * np.pi),
        flattening=flattening,
        disc_length=disc_length,
        arm_contrast=_clip(0.65 + 0.35 * (galaxy.lgm - 10.0) + 0.2 * rng.standard_normal(), 0.0, 0.95),
        arm_phase=rng.uniform(0.0, 2.0 * np.pi),
        winding=rng.uniform(3.0, 6.0) * math.copysign(1.0, rng.random() - 0.5),
        lopsided=_clip(0.15 - 0.25 * (galaxy.lgm - 10.0), 0.0, 0.5) * rng.random(),
    )


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def galaxy_light(rng: np.random.Generator, galaxy: Galaxy, frame: Frame) -> Floats:
    """Return the galaxy's surface brightness before the atmosphere, (C, H, W)."""
    shape = _draw_shape(rng, galaxy)
    share_PC = _shares(rng, galaxy)
    y_H1, x_W = frame.axis[:, None], frame.axis
    cosine, sine = math.cos(shape.position_angle), math.sin(shape.position_angle)
    along_HW = x_W * cosine + y_H1 * sine
    across_HW = (y_H1 * cosine - x_W * sine) / shape.flattening
    profiles = (_bulge(galaxy, shape, frame, along_HW, across_HW), *_disc(shape, frame, along_HW, across_HW))
    share_PC *= galaxy.flux_per_band * frame.brightness
    light_CHW = np.zeros((len(BANDS), frame.size_pix, frame.size_pix))
    for profile_HW, share_C in zip(profiles, share_PC[:3], strict=True):
        for light_HW, share in zip(light_CHW, share_C / profile_HW.sum(), strict=True):
            light_HW += share * profile_HW
    knots_HW = _knots(rng, galaxy, shape, frame)
    for light_HW, share in zip(light_CHW, share_PC[3], strict=True):
        light_HW += share * knots_HW
    return light_CHW


def _shares(rng: np.random.Generator, galaxy: Galaxy) -> Floats:
    """Return what part of each band's light is bulge, old disc, young disc and knots: (4, C), each band sums to 1.

    Metal-rich galaxies have the steeper colour gradients; their knots are fainter, and poorer in the green [O III].
    """
    metal = galaxy.oh - 8.9
    gradient = _clip(0.30 + 0.9 * metal + 0.07 * rng.standard_normal(), 0.0, 0.8)
    knots = _clip(0.12 + 0.15 * galaxy.excess - 0.35 * metal + 0.03 * rng.standard_normal(), 0.01, 0.4)
    disc = 1.0 - galaxy.bulge
    share_P = np.array([galaxy.bulge, disc * (1.0 - knots) * 0.5, disc * (1.0 - knots) * 0.5, disc * knots])
    redder_P = np.array([gradient, 0.0, -0.2, -0.35])
    offset_PC = redder_P[:, None] * np.array([-0.5, 0.0, 1.0])
    # H alpha lights the knots in r; [O III] in g, the more the fewer metals there are to cool the gas.
    offset_PC[3] -= [0.0, 0.15, _clip(0.2 - 1.0 * metal, 0.0, 1.0)]
    share_PC: Floats = share_P[:, None] * 10 ** (-0.4 * offset_PC)
    share_PC /= share_PC.sum(axis=0)
    return share_PC


def _bulge(galaxy: Galaxy, shape: _Shape, frame: Frame, along_HW: Floats, across_HW: Floats) -> Floats:
    """Return a de Vaucouleurs profile, its cusp softened below the pixel."""
    rounder = shape.flattening / (1.0 - 0.4 * (1.0 - shape.flattening))
    radius = galaxy.r50_arcsec * (0.4 + 0.6 * galaxy.bulge)
    softening = 0.4 * frame.scale_arcsec + 0.05 * radius
    squared_HW = along_HW**2 + (across_HW * rounder) ** 2 + softening**2
    steepness = 7.669 / math.sqrt(math.sqrt(radius))
    root_T, at_HW = _table(np.sqrt(np.sqrt(np.sqrt(squared_HW))))
    profile_T: Floats = np.exp(-steepness * root_T)
    return profile_T[at_HW]


def _disc(shape: _Shape, frame: Frame, along_HW: Floats, across_HW: Floats) -> tuple[Floats, Floats]:
    """Return the old disc, smooth, and the young one, a third wider and wound into two arms."""
    along_2_HW, across_2_HW = along_HW**2, across_HW**2
    squared_HW = along_2_HW + across_2_HW + (0.3 * frame.scale_arcsec) ** 2
    radius_HW = np.minimum(np.sqrt(squared_HW) / shape.disc_length, _EDGE)
    radius_T, at_HW = _table(radius_HW)
    phase_T = shape.winding * np.log(radius_T + 0.3) + shape.arm_phase
    # cos(2 theta - phase), with cosine and sine of 2 theta from the coordinates: no arc tangent is needed.
    arms_HW = (along_2_HW - across_2_HW) * np.cos(phase_T)[at_HW]
    arms_HW += along_HW * across_HW * (2.0 * np.sin(phase_T))[at_HW]
    arms_HW *= shape.arm_contrast / squared_HW
    arms_HW += 1.0
    young_HW = np.exp(-0.75 * radius_T)[at_HW] * arms_HW**2
    if shape.lopsided > 0.0:
        young_HW *= 1.0 + shape.lopsided / shape.disc_length * along_HW / radius_HW
    return np.exp(-radius_T)[at_HW], young_HW


def _table(values_HW: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return evenly spaced values, (T,), and where in them each pixel falls: a profile is then worked out T times."""
    step = values_HW.max() / (_TABLE_SIZE - 1)
    return step * np.arange(_TABLE_SIZE), (values_HW / step + 0.5).astype(np.intp)


def _knots(rng: np.random.Generator, galaxy: Galaxy, shape: _Shape, frame: Frame) -> Floats:
    """Return star-forming knots, points of total weight 1 before the seeing, most of them along the arms."""
    num_knots = 3 + min(int(rng.poisson(14.0 * 10 ** (0.8 * galaxy.excess - 0.8 * (galaxy.oh - 8.9)))), 80)
    radius_K = 0.25 + 1.1 * rng.standard_gamma(1.6, num_knots)
    on_arm_K = (shape.winding * np.log(radius_K + 0.3) + shape.arm_phase) / 2.0 + np.pi * rng.integers(
        2, size=num_knots
    )
    on_arm_K += 0.25 * rng.standard_normal(num_knots)
    free_K = rng.uniform(0.0, 2.0 * np.pi, num_knots)
    theta_K = np.where(rng.random(num_knots) < shape.arm_contrast, on_arm_K, free_K)
    weight_K = rng.standard_exponential(num_knots) ** 1.5 * np.exp(-radius_K / 3.0)
    along_K = radius_K * shape.disc_length * np.cos(theta_K)
    across_K = radius_K * shape.disc_length * np.sin(theta_K) * shape.flattening
    cosine, sine = math.cos(shape.position_angle), math.sin(shape.position_angle)
    x_K, y_K = along_K * cosine - across_K * sine, along_K * sine + across_K * cosine
    return _splat(x_K, y_K, weight_K / weight_K.sum(), frame)


def _splat(x_K: Floats, y_K: Floats, weight_K: Floats, frame: Frame) -> Floats:
    """Return (H, W) with each point shared among its four nearest pixels; those outside are dropped."""
    last = frame.size_pix - 1
    column_K, row_K = x_K / frame.scale_arcsec + last / 2, y_K / frame.scale_arcsec + last / 2
    inside_K = (column_K >= 0) & (column_K < last) & (row_K >= 0) & (row_K < last)
    column_K, row_K, weight_K = column_K[inside_K], row_K[inside_K], weight_K[inside_K]
    left_K, top_K = column_K.astype(np.int64), row_K.astype(np.int64)
    right_K, below_K = column_K - left_K, row_K - top_K
    at_K = top_K * frame.size_pix + left_K
    upper = ((0, (1 - right_K) * (1 - below_K)), (1, right_K * (1 - below_K)))
    lower = ((frame.size_pix, (1 - right_K) * below_K), (frame.size_pix + 1, right_K * below_K))
    index = np.concatenate([at_K + step for step, _ in (*upper, *lower)])
    weight = np.concatenate([weight_K * part_K for _, part_K in (*upper, *lower)])
    light = np.bincount(index, weight, frame.size_pix**2).astype(np.float64)
    return light.reshape(frame.size_pix, frame.size_pix)
