"""A survey that never was: a table of star-forming galaxies whose true metallicities are known.

The population follows published relations closely enough that a network has something real to learn: a stellar
mass function seen through a magnitude limit, the star-forming main sequence, the mass-metallicity relation with
a residual that follows the star formation rate, and colours that blend mass, star formation, metallicity and dust.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError

Floats = NDArray[np.float64]

SPECTROSCOPIC_FRACTION = 0.5
R_LIMIT_MAG = 18.0
REDSHIFT_RANGE = (0.02, 0.2)
LGM_RANGE = (8.5, 11.5)
NUM_PER_SQUARE_DEGREE = 100.0
SFR_SCATTER_DEX = 0.3
# Concentration R90/R50 of an exponential disc, and what a bulge adds to it.
DISC_CONCENTRATION = 2.2
BULGE_CONCENTRATION = 1.1
# Magnitudes at 10^10 Msun on the main sequence, and how each colour answers to: log mass, log sSFR excess,
# metallicity, dust, age (both of unit variance), redshift; last, the photometric scatter.
_COLOURS = {
    "u_g": (1.22, 0.14, -0.22, 0.26, 0.070, 0.090, 0.6, 0.050),
    "g_r": (0.45, 0.10, -0.10, 0.22, 0.080, 0.040, 1.4, 0.025),
    "r_i": (0.24, 0.04, -0.03, 0.10, 0.040, 0.015, 0.4, 0.020),
    "i_z": (0.16, 0.04, -0.02, 0.08, 0.035, 0.020, 0.2, 0.030),
}


def mass_metallicity(lgm_N: Floats) -> Floats:
    """Return the median 12+log(O/H) at a log stellar mass (Tremonti et al. 2004, equation 3)."""
    return -1.492 + 1.847 * lgm_N - 0.08026 * lgm_N**2


def main_sequence(lgm_N: Floats) -> Floats:
    """Return the median log star formation rate, Msun a year, at a log stellar mass (Renzini & Peng 2015)."""
    return 0.76 * lgm_N - 7.64


def bulge_fraction(r50_N: Floats, r90_N: Floats) -> Floats:
    """Return the bulge's share of the r-band light that a Petrosian concentration R90/R50 stands for."""
    concentration_N = r90_N / r50_N
    return np.clip((concentration_N - DISC_CONCENTRATION) / BULGE_CONCENTRATION, 0.02, 0.9)


def simulate_survey(
    *, num_galaxies: int, seed: int, spectroscopic_fraction: float = SPECTROSCOPIC_FRACTION
) -> pa.Table:
    """Return a survey table of ``num_galaxies`` rows; the same arguments give the same bytes.

    oh_true is the truth. oh_p16, oh_p50 and oh_p84 are its measurement, null where the galaxy has no spectrum.
    Names, and units of magnitude, arcsec and dex, as in SDSS. Raises InputError for arguments out of range.
    """
    _check(num_galaxies, seed, spectroscopic_fraction)
    rng = np.random.default_rng([seed, num_galaxies])
    lgm_N = _draw_mass(rng, num_galaxies)
    sfr_excess_N = SFR_SCATTER_DEX * rng.standard_normal(num_galaxies)
    # At a given mass, galaxies that form more stars are poorer in metals (Mannucci et al. 2010).
    residual_N = rng.standard_normal(num_galaxies) * (0.09 - 0.03 * (lgm_N - 10.0))
    oh_N = mass_metallicity(lgm_N) - 0.2 * sfr_excess_N + residual_N
    redshift_N, r_mag_N = _draw_redshift(rng, lgm_N, sfr_excess_N)
    ra_N, dec_N = _draw_sky(rng, num_galaxies)
    columns: dict[str, pa.Array] = {"object_id": pa.array(_object_ids(num_galaxies, seed)), "ra": pa.array(ra_N)}
    columns |= {"dec": pa.array(dec_N), "redshift": _float(redshift_N)}
    columns |= {"lgm_tot_p50": _float(lgm_N), "sfr_tot_p50": _float(main_sequence(lgm_N) + sfr_excess_N)}
    magnitudes = _draw_magnitudes(rng, r_mag_N, lgm_N, sfr_excess_N, oh_N, redshift_N)
    columns |= {f"modelMag_{band}": _float(magnitudes[band]) for band in "ugriz"}
    r50_N, r90_N = _draw_sizes(rng, lgm_N, oh_N, redshift_N)
    columns |= {"petroR50_r": _float(r50_N), "petroR90_r": _float(r90_N), "oh_true": _float(oh_N)}
    columns |= _measure(rng, oh_N, r_mag_N, rng.random(num_galaxies) < spectroscopic_fraction)
    return pa.table(columns)


def _check(num_galaxies: int, seed: int, spectroscopic_fraction: float) -> None:
    if num_galaxies < 1:
        raise InputError(f"a simulated survey needs galaxies: num_galaxies is {num_galaxies}; give 1 or more")
    if seed < 0:
        raise InputError(f"the seed of a simulated survey is {seed}; give 0 or more")
    if not 0.0 <= spectroscopic_fraction <= 1.0:
        raise InputError(f"spectroscopic_fraction is {spectroscopic_fraction}; give a number from 0 to 1")


def _float(values_N: Floats) -> pa.Array:
    return pa.array(values_N.astype(np.float32))


def _draw_mass(rng: np.random.Generator, num_galaxies: int) -> Floats:
    """Draw log masses from a Schechter function, weighted with the volume in which each could be seen."""
    lgm_G = np.linspace(*LGM_RANGE, 2001)
    ratio_G = 10 ** (lgm_G - 10.45)
    seen_G = _redshift_limit(_absolute_magnitude(lgm_G, np.zeros_like(lgm_G)))
    density_G = ratio_G**-0.5 * np.exp(-ratio_G) * (seen_G**3 - REDSHIFT_RANGE[0] ** 3)
    cumulative_G = np.cumsum(density_G)
    return np.interp(rng.random(num_galaxies), cumulative_G / cumulative_G[-1], lgm_G)


def _absolute_magnitude(lgm_N: Floats, sfr_excess_N: Floats) -> Floats:
    lg_mass_to_light_N = 0.15 + 0.22 * (lgm_N - 10.0) - 0.25 * sfr_excess_N
    return 4.65 - 2.5 * (lgm_N - lg_mass_to_light_N)


def _distance_modulus(redshift_N: Floats) -> Floats:
    # Second order in redshift: H0 = 70 km/s/Mpc, q0 = -0.55; better than 1 % out to 0.2.
    distance_mpc_N = 4282.7 * redshift_N * (1.0 + 0.775 * redshift_N)
    return 5.0 * np.log10(distance_mpc_N) + 25.0


def _redshift_limit(absolute_N: Floats) -> Floats:
    """Return the redshift at which a galaxy fades to the survey's limit."""
    redshift_G = np.linspace(REDSHIFT_RANGE[0] + 0.001, REDSHIFT_RANGE[1], 1000)
    return np.interp(R_LIMIT_MAG - absolute_N, _distance_modulus(redshift_G) + redshift_G, redshift_G)


def _draw_redshift(rng: np.random.Generator, lgm_N: Floats, sfr_excess_N: Floats) -> tuple[Floats, Floats]:
    """Draw redshifts evenly in volume out to where each galaxy is seen; return them and r magnitudes."""
    absolute_N = _absolute_magnitude(lgm_N, sfr_excess_N) + 0.1 * rng.standard_normal(len(lgm_N))
    near = REDSHIFT_RANGE[0] ** 3
    redshift_N = np.cbrt(near + rng.random(len(lgm_N)) * (_redshift_limit(absolute_N) ** 3 - near))
    # The dimmest dwarfs are lost even at the near edge: they are kept, as if a little brighter.
    r_mag_N = absolute_N + _distance_modulus(redshift_N) + redshift_N
    return redshift_N, np.minimum(r_mag_N, R_LIMIT_MAG - 1e-3)


def _draw_magnitudes(
    rng: np.random.Generator,
    r_mag_N: Floats,
    lgm_N: Floats,
    sfr_excess_N: Floats,
    oh_N: Floats,
    redshift_N: Floats,
) -> dict[str, Floats]:
    dust_N, age_N = rng.standard_normal((2, len(lgm_N)))
    causes_5N = (lgm_N - 10.0, sfr_excess_N, oh_N - 8.9, dust_N, age_N, redshift_N)
    colour = {}
    for name, (zero, *slopes, scatter) in _COLOURS.items():
        colour[name] = zero + scatter * rng.standard_normal(len(lgm_N))
        for slope, cause_N in zip(slopes, causes_5N, strict=True):
            colour[name] += slope * cause_N
    g_mag_N, i_mag_N = r_mag_N + colour["g_r"], r_mag_N - colour["r_i"]
    outer = {"u": g_mag_N + colour["u_g"], "z": i_mag_N - colour["i_z"]}
    return {"g": g_mag_N, "r": r_mag_N, "i": i_mag_N} | outer


def _draw_sizes(rng: np.random.Generator, lgm_N: Floats, oh_N: Floats, redshift_N: Floats) -> tuple[Floats, Floats]:
    """Draw Petrosian radii, arcsec. Metal-rich galaxies have the larger bulges, hence are more concentrated."""
    scatter_2N = rng.standard_normal((2, len(lgm_N)))
    logit_N = -1.4 + 0.5 * (lgm_N - 10.0) + 4.0 * (oh_N - 8.9) + 0.7 * scatter_2N[0]
    bulge_N = 1.0 / (1.0 + np.exp(-logit_N))
    r50_kpc_N = 10 ** (0.42 + 0.22 * (lgm_N - 10.0) + 0.13 * scatter_2N[1])
    distance_kpc_N = 1e3 * 4282.7 * redshift_N * (1.0 - 0.225 * redshift_N) / (1.0 + redshift_N)
    # Seeing keeps even the smallest galaxy from looking like a point.
    r50_N = np.hypot(np.degrees(r50_kpc_N / distance_kpc_N) * 3600.0, 0.8)
    return r50_N, r50_N * (DISC_CONCENTRATION + BULGE_CONCENTRATION * bulge_N)


def _measure(
    rng: np.random.Generator, oh_N: Floats, r_mag_N: Floats, has_spectrum_N: NDArray[np.bool_]
) -> dict[str, pa.Array]:
    """Return the measured percentiles: fainter galaxies are measured less well."""
    brightness_N = 0.12 * (r_mag_N - R_LIMIT_MAG + 1.0)
    error_N = 0.03 * 10 ** (brightness_N + 0.15 * rng.standard_normal(len(oh_N)))
    p50_N = oh_N + error_N * rng.standard_normal(len(oh_N))
    columns = {"oh_p16": p50_N - 1.1 * error_N, "oh_p50": p50_N, "oh_p84": p50_N + 0.9 * error_N}
    missing_N = ~has_spectrum_N
    return {name: pa.array(values_N.astype(np.float32), mask=missing_N) for name, values_N in columns.items()}


def _draw_sky(rng: np.random.Generator, num_galaxies: int) -> tuple[Floats, Floats]:
    """Draw positions evenly over a patch whose area, at one density, holds them all; it stays clear of RA 0."""
    area_deg2 = num_galaxies / NUM_PER_SQUARE_DEGREE
    height_deg = min(np.sqrt(area_deg2), 60.0)
    low, high = np.sin(np.radians([30.0 - height_deg / 2, 30.0 + height_deg / 2]))
    width_deg = min(area_deg2 / np.degrees(high - low), 300.0)
    ra_N = 185.0 + width_deg * (rng.random(num_galaxies) - 0.5)
    dec_N = np.degrees(np.arcsin(low + (high - low) * rng.random(num_galaxies)))
    return ra_N, dec_N


def _object_ids(num_galaxies: int, seed: int) -> NDArray[np.int64]:
    """Return ids packed as SDSS packs its own: sky version, rerun, run, camera column, field, object.

    Surveys of different seeds have different runs; a run ends after 1.2 million galaxies, and the next begins.
    """
    index_N = np.arange(num_galaxies, dtype=np.int64)
    index_N, obj_N = np.divmod(index_N, 250)
    index_N, field_N = np.divmod(index_N, 800)
    run_N, camcol_N = np.divmod(index_N, 6)
    run_N += 94 + (7919 * seed) % 50_000
    head = np.int64((2 << 59) | (301 << 48))
    object_id_N: NDArray[np.int64] = (
        head | (run_N << 32) | ((camcol_N + 1) << 29) | ((field_N + 11) << 16) | (obj_N + 1)
    )
    return object_id_N
