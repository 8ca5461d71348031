"""What the simulated sky and camera do to a galaxy's light: seeing, noise, stars, neighbours, and the stretch.

Units and array names are those of ``simulated_galaxy``; S stands for stars.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from skymetal.engine.sources.simulated_galaxy import BANDS, NATIVE_PIXEL_ARCSEC, Floats, Frame

SEEING_FWHM_ARCSEC = 1.3
_SIGMA_ARCSEC = SEEING_FWHM_ARCSEC / 2.3548
# The seeing's core and its wing: share of the light, and width in units of the core's.
_PSF = ((0.92, 1.0), (0.08, 2.6))
_NUM_STARS, _NUM_NEIGHBOURS, _PER_ARCSEC2 = 0.5, 0.7, 1.0 / 25.0**2
_MAX_SOURCES = 12
_NOISE_C = np.array([0.026, 0.018, 0.013])
# An SDSS JPEG weighs i, r, g so; level and softening are set so that grey levels match those of real cutouts.
_WEIGHT_C = np.array([0.63, 0.73, 1.0])
_LEVEL, _SOFTENING = 51.0, 0.10
_BRIGHTEST, _CURVE_SIZE = 400.0, 8192


def blur_and_add_noise(rng: np.random.Generator, light_CHW: Floats, frame: Frame) -> None:
    """Show the light through the atmosphere, in place, with the sky's noise.

    Noise is white in SDSS's own pixels; a cutout that shows them magnified shows it smooth, as real ones do.
    """
    row_F1 = (2.0 * np.pi * np.fft.fftfreq(frame.size_pix, frame.scale_arcsec)[:, None]) ** 2
    column_F = (2.0 * np.pi * np.fft.rfftfreq(frame.size_pix, frame.scale_arcsec)) ** 2
    transfer_FF = np.zeros((frame.size_pix, len(column_F)))
    for share, width in _PSF:
        variance = (width * _SIGMA_ARCSEC) ** 2
        transfer_FF += share * np.exp(-0.5 * variance * row_F1) * np.exp(-0.5 * variance * column_F)
    variance = (0.45 * NATIVE_PIXEL_ARCSEC) ** 2
    smooth_FF = np.exp(-0.5 * variance * row_F1) * np.exp(-0.5 * variance * column_F)
    # Even numbers, cheap to draw, do for a spectrum: what a pixel gets is a sum over many, hence normal.
    smooth_FF *= np.sqrt(6.0) * frame.size_pix * NATIVE_PIXEL_ARCSEC / frame.scale_arcsec
    # One band at a time: small arrays are used again, large ones are asked of the system anew.
    for light_HW, noise in zip(light_CHW, _NOISE_C, strict=True):
        noise_FF = (rng.random((frame.size_pix, 2 * len(column_F))) - 0.5).view(np.complex128)
        noise_FF *= noise * smooth_FF
        spectrum_FF = np.fft.rfft2(light_HW)
        spectrum_FF *= transfer_FF
        spectrum_FF += noise_FF
        light_HW[:] = np.fft.irfft2(spectrum_FF, s=light_HW.shape)


def add_neighbours(rng: np.random.Generator, light_CHW: Floats, frame: Frame) -> None:
    """Add small galaxies in the background, before the atmosphere."""
    for _ in range(_num_sources(rng, _NUM_NEIGHBOURS, frame)):
        x, y = rng.uniform(-0.5, 0.5, 2) * frame.box_arcsec
        flux_C = _fluxes(22.0 - min(rng.exponential(1.0), 5.0), rng.uniform(0.3, 1.3))
        length, flattening, angle = rng.uniform(0.3, 1.0), rng.uniform(0.3, 1.0), rng.uniform(0.0, np.pi)
        rows, columns = _window(x, y, 6.0 * length, frame)
        x_W, y_H1 = frame.axis[columns] - x, frame.axis[rows, None] - y
        along_HW = x_W * np.cos(angle) + y_H1 * np.sin(angle)
        across_HW = (y_H1 * np.cos(angle) - x_W * np.sin(angle)) / flattening
        profile_HW = np.exp(-np.sqrt(along_HW**2 + across_HW**2) / length)
        peak = NATIVE_PIXEL_ARCSEC**2 / (2.0 * np.pi * length**2 * flattening)
        light_CHW[:, rows, columns] += (flux_C * peak)[:, None, None] * profile_HW


def add_stars(rng: np.random.Generator, light_CHW: Floats, frame: Frame) -> None:
    """Add foreground stars, as the seeing shows them."""
    for _ in range(_num_sources(rng, _NUM_STARS, frame)):
        # A star just outside the frame still sheds light on it.
        x, y = rng.uniform(-0.55, 0.55, 2) * frame.box_arcsec
        magnitude = 21.5 - min(rng.exponential(1.3), 6.0)
        _add_star(light_CHW, (x, y), _fluxes(magnitude, rng.uniform(0.2, 1.4)), frame)


def add_saturated_star(rng: np.random.Generator, light_CHW: Floats, frame: Frame) -> None:
    """Add a star so bright that its halo fills the frame and its charge bleeds along a column."""
    x, y = rng.uniform(-0.4, 0.4, 2) * frame.box_arcsec
    flux_C = _fluxes(rng.uniform(8.5, 10.0), rng.uniform(0.4, 0.9))
    _add_star(light_CHW, (x, y), flux_C, frame)
    x_W, y_H1 = frame.axis - x, frame.axis[:, None] - y
    halo_HW = 0.0015 * NATIVE_PIXEL_ARCSEC**2 / (1.0 + (x_W**2 + y_H1**2) / 9.0) ** 1.25
    bleed_W = 1e-3 * (np.abs(x_W) < max(1.2, 0.012 * frame.box_arcsec))
    bleed_HW = bleed_W * np.exp(-np.abs(y_H1) * 12.0 / frame.box_arcsec)
    light_CHW += flux_C[:, None, None] * (halo_HW + bleed_HW)


def stretch(light_CHW: Floats) -> NDArray[np.uint8]:
    """Return the picture, (H, W, C): one asinh stretch for all bands, so that colours survive (Lupton et al. 2004)."""
    weighted_CHW = np.maximum(light_CHW, 0.0)
    weighted_CHW *= _WEIGHT_C[:, None, None]
    mean_HW = (weighted_CHW[0] + weighted_CHW[1] + weighted_CHW[2]) * (1.0 / len(BANDS))
    place_HW = np.sqrt(mean_HW) * ((_CURVE_SIZE - 1) / np.sqrt(_BRIGHTEST)) + 0.5
    gain_HW = _stretch_curve()[np.minimum(place_HW, _CURVE_SIZE - 1).astype(np.intp)]
    pixels_HWC = np.empty((*mean_HW.shape, len(BANDS)), np.uint8)
    for band, weighted_HW in enumerate(weighted_CHW):
        pixels_HWC[:, :, band] = np.minimum(weighted_HW * gain_HW + 0.5, 255.0)
    return pixels_HWC


@functools.cache
def _stretch_curve() -> Floats:
    """Return grey level over brightness, a table even in the root of brightness: fine where the curve is steep."""
    brightness_T = np.linspace(1e-3, np.sqrt(_BRIGHTEST), _CURVE_SIZE) ** 2
    curve_T: Floats = _LEVEL * np.arcsinh(brightness_T / _SOFTENING) / brightness_T
    return curve_T


def _num_sources(rng: np.random.Generator, mean: float, frame: Frame) -> int:
    return min(int(rng.poisson(mean * frame.box_arcsec**2 * _PER_ARCSEC2)), _MAX_SOURCES)


def _fluxes(r_mag: float, colour: float) -> Floats:
    """Return nanomaggies in i, r, g, of an r magnitude and a g - r."""
    magnitude_C = r_mag + np.array([0.08 - 0.55 * colour, 0.0, colour])
    flux_C: Floats = 10 ** (0.4 * (22.5 - magnitude_C))
    return flux_C


def _add_star(light_CHW: Floats, position: tuple[float, float], flux_C: Floats, frame: Frame) -> None:
    x_W, y_H = frame.axis - position[0], frame.axis - position[1]
    for share, width in _PSF:
        # A pixel's own width counts where the seeing is not much wider.
        variance = (width * _SIGMA_ARCSEC) ** 2 + frame.scale_arcsec**2 / 12.0
        peak_C = flux_C * share * NATIVE_PIXEL_ARCSEC**2 / (2.0 * np.pi * variance)
        profile_HW = np.exp(-0.5 * y_H**2 / variance)[:, None] * np.exp(-0.5 * x_W**2 / variance)
        for light_HW, peak in zip(light_CHW, peak_C, strict=True):
            light_HW += peak * profile_HW


def _window(x: float, y: float, reach: float, frame: Frame) -> tuple[slice, slice]:
    """Return the rows and columns within ``reach`` of a position."""
    edges = [int((at + step) / frame.scale_arcsec + frame.size_pix / 2) for at in (y, x) for step in (-reach, reach)]
    first_row, last_row, first_column, last_column = (min(max(edge, 0), frame.size_pix) for edge in edges)
    return slice(first_row, last_row + 1), slice(first_column, last_column + 1)
