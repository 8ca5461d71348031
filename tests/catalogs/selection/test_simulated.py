from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.simulated import (
    NUM_PER_SQUARE_DEGREE,
    R_LIMIT_MAG,
    SPECTROSCOPIC_FRACTION,
    bulge_fraction,
    mass_metallicity,
    simulate_survey,
)

LABELS = ("oh_p16", "oh_p50", "oh_p84")
NUM = 8000


@pytest.fixture(scope="module")
def survey() -> pa.Table:
    return simulate_survey(num_galaxies=NUM, seed=3)


def column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy().astype(np.float64)


def explained(survey: pa.Table, predictors: list[np.ndarray]) -> float:
    """Return R² of a linear fit of oh_true, made on one half of the survey, on the other."""
    truth = column(survey, "oh_true")
    design = np.column_stack([np.ones(len(truth)), *predictors])
    half = len(truth) // 2
    weights = np.linalg.lstsq(design[:half], truth[:half], rcond=None)[0]
    return 1.0 - np.var(truth[half:] - design[half:] @ weights) / np.var(truth[half:])


def colours(survey: pa.Table) -> list[np.ndarray]:
    pairs = ("ug", "gr", "ri", "iz")
    return [column(survey, f"modelMag_{blue}") - column(survey, f"modelMag_{red}") for blue, red in pairs]


def test_the_same_seed_gives_the_same_survey_and_another_seed_another() -> None:
    first, again, other = (simulate_survey(num_galaxies=50, seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    for name in ("object_id", "ra", "modelMag_r", "oh_true"):
        assert not first[name].equals(other[name]), name


def test_object_ids_are_distinct_and_look_like_those_of_sdss() -> None:
    ids = simulate_survey(num_galaxies=300_000, seed=9)["object_id"]
    assert ids.type == pa.int64()
    assert pc.count_distinct(ids).as_py() == 300_000
    assert 1237600000000000000 < pc.min(ids).as_py() < pc.max(ids).as_py() < 1238000000000000000


def test_metallicities_have_the_mean_and_spread_of_the_real_sample(survey: pa.Table) -> None:
    truth = column(survey, "oh_true")
    assert truth.mean() == pytest.approx(8.90, abs=0.04)
    assert truth.std() == pytest.approx(0.19, abs=0.02)


def test_the_mass_metallicity_relation_is_followed_with_a_tenth_of_a_dex_of_scatter(survey: pa.Table) -> None:
    residual = column(survey, "oh_true") - mass_metallicity(column(survey, "lgm_tot_p50"))
    assert abs(np.median(residual)) < 0.01
    assert 0.08 < residual.std() < 0.14


def test_galaxies_that_form_more_stars_at_their_mass_are_poorer_in_metals(survey: pa.Table) -> None:
    lgm = column(survey, "lgm_tot_p50")
    residual = column(survey, "oh_true") - mass_metallicity(lgm)
    line = np.polyval(np.polyfit(lgm, column(survey, "sfr_tot_p50"), 1), lgm)
    assert np.corrcoef(residual, column(survey, "sfr_tot_p50") - line)[0, 1] < -0.3


def test_colours_tell_a_part_of_the_metallicity_and_concentration_adds_to_it(survey: pa.Table) -> None:
    concentration = column(survey, "petroR90_r") / column(survey, "petroR50_r")
    with_colours = explained(survey, colours(survey))
    assert 0.4 < with_colours < 0.7
    assert explained(survey, [*colours(survey), concentration]) > with_colours + 0.05


def test_a_galaxy_without_a_spectrum_has_a_truth_but_no_measurement(survey: pa.Table) -> None:
    assert survey["oh_true"].null_count == 0
    nulls = [survey[name].is_null().combine_chunks() for name in LABELS]
    assert nulls[0].equals(nulls[1])
    assert nulls[1].equals(nulls[2])
    assert survey["oh_p50"].null_count / NUM == pytest.approx(1 - SPECTROSCOPIC_FRACTION, abs=0.03)


@pytest.mark.parametrize(("fraction", "nulls"), [(0.0, 40), (1.0, 0)])
def test_the_fraction_with_a_spectrum_can_be_none_or_all(fraction: float, nulls: int) -> None:
    survey = simulate_survey(num_galaxies=40, seed=1, spectroscopic_fraction=fraction)
    assert survey["oh_p50"].null_count == nulls


def test_measured_percentiles_bracket_the_truth_as_often_as_they_should(survey: pa.Table) -> None:
    measured = survey.filter(survey["oh_p50"].is_valid())
    low, middle, high = (column(measured, name) for name in LABELS)
    truth = column(measured, "oh_true")
    assert np.all((low < middle) & (middle < high))
    assert np.mean((low < truth) & (truth < high)) == pytest.approx(0.68, abs=0.03)


def test_the_sample_keeps_to_its_limits_and_its_radii_to_their_order(survey: pa.Table) -> None:
    redshift = column(survey, "redshift")
    assert redshift.min() >= 0.02
    assert redshift.max() <= 0.2
    assert column(survey, "modelMag_r").max() < R_LIMIT_MAG
    u_r = column(survey, "modelMag_u") - column(survey, "modelMag_r")
    assert u_r.min() > 0
    assert u_r.max() < 6
    assert np.all(column(survey, "petroR90_r") > 2 * column(survey, "petroR50_r"))


@pytest.mark.parametrize("num_galaxies", [5, 8000, 200_000])
def test_the_patch_of_sky_has_one_density_and_stays_clear_of_ra_zero(num_galaxies: int) -> None:
    survey = simulate_survey(num_galaxies=num_galaxies, seed=4)
    ra, dec = column(survey, "ra"), column(survey, "dec")
    assert ra.min() > 30
    assert ra.max() < 340
    assert abs(dec).max() < 75
    if num_galaxies > 1000:
        heights = np.degrees(np.sin(np.radians(dec.max())) - np.sin(np.radians(dec.min())))
        assert num_galaxies / (np.ptp(ra) * heights) == pytest.approx(NUM_PER_SQUARE_DEGREE, rel=0.05)


def test_a_bulge_is_read_from_the_concentration() -> None:
    fractions = bulge_fraction(np.array([1.0, 1.0, 1.0]), np.array([2.2, 2.75, 3.3]))
    assert fractions == pytest.approx([0.02, 0.5, 0.9])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"num_galaxies": 0, "seed": 1}, "num_galaxies is 0"),
        ({"num_galaxies": 3, "seed": -1}, "seed"),
        ({"num_galaxies": 3, "seed": 1, "spectroscopic_fraction": 1.5}, "spectroscopic_fraction is 1.5"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(arguments: dict[str, float], word: str) -> None:
    with pytest.raises(InputError, match=word):
        simulate_survey(**arguments)
