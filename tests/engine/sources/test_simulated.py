from __future__ import annotations

import copy

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.simulated import simulate_survey
from skymetal.engine.sources.simulated import BLANK_FRACTION, REQUIRED_COLUMNS, SATURATED_FRACTION, SimulatedSource
from skymetal.engine.sources.simulated_galaxy import Frame
from skymetal.engine.sources.simulated_sky import SEEING_FWHM_ARCSEC, blur_and_add_noise, stretch

SOURCE = SimulatedSource(size_pix=48, seed=1)


@pytest.fixture(scope="module")
def survey() -> pa.Table:
    return simulate_survey(num_galaxies=400, seed=6)


def draw(source: SimulatedSource, survey: pa.Table) -> np.ndarray:
    pixels = [cutout.pixels for cutout in source.read(survey)]
    return np.stack([image for image in pixels if image is not None])


@pytest.fixture(scope="module")
def images(survey: pa.Table) -> np.ndarray:
    return draw(SOURCE, survey)


def altered(survey: pa.Table, name: str, value: float) -> pa.Table:
    column = pa.array(np.full(survey.num_rows, value, np.float32))
    return survey.set_column(survey.column_names.index(name), name, column)


def ring(size_pix: int, low: float, high: float) -> np.ndarray:
    """Return the pixels whose distance from the centre, in boxes, is between the two."""
    axis = (np.arange(size_pix) - (size_pix - 1) / 2) / size_pix
    radius = np.hypot(axis[:, None], axis)
    return (radius >= low) & (radius < high)


def test_every_row_gets_a_cutout_of_the_size_asked_for(survey: pa.Table, images: np.ndarray) -> None:
    assert images.shape == (survey.num_rows, 48, 48, 3)
    assert images.dtype == np.uint8
    assert [cutout.source for cutout in SOURCE.read(survey.slice(0, 2))] == ["simulated:1", "simulated:1"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture(
    survey: pa.Table, images: np.ndarray
) -> None:
    few = survey.slice(0, 5)
    assert np.array_equal(draw(copy.deepcopy(SOURCE), few), images[:5])
    others = draw(SimulatedSource(size_pix=48, seed=2), few)
    assert all(not np.array_equal(other, image) for other, image in zip(others, images, strict=False))


def test_a_galaxy_is_the_same_bytes_whatever_else_is_in_the_call(survey: pa.Table, images: np.ndarray) -> None:
    backwards = draw(SOURCE, survey.take(list(range(20, 10, -1))))
    assert np.array_equal(backwards[::-1], images[11:21])


def test_galaxies_are_centred_on_a_dark_sky(images: np.ndarray) -> None:
    grey = np.median(images, axis=0).mean(axis=-1)
    assert grey[ring(48, 0.0, 0.05)].mean() > 80
    assert grey[ring(48, 0.45, 0.6)].mean() < 8


def test_centres_are_redder_than_outskirts(images: np.ndarray) -> None:
    red_over_blue = [
        np.median(images[:, pixels, 0].mean(axis=1) / (images[:, pixels, 2].mean(axis=1) + 1e-3))
        for pixels in (ring(48, 0.0, 0.05), ring(48, 0.12, 0.2))
    ]
    assert 1.1 < red_over_blue[1] < red_over_blue[0] - 0.1


def test_metal_poor_galaxies_are_clumpier_at_the_same_magnitudes_and_radii(survey: pa.Table) -> None:
    few, inner = survey.slice(0, 60), ring(48, 0.0, 0.2)
    clumpiness = []
    for oh in (8.4, 9.1):
        pixels = draw(SOURCE, altered(few, "oh_true", oh))[..., 2].astype(float)
        turned = pixels[:, ::-1, ::-1]
        clumpiness.append(np.median(np.abs(pixels - turned)[:, inner].mean(axis=1) / pixels[:, inner].mean(axis=1)))
    assert clumpiness[0] > 1.3 * clumpiness[1]


def test_magnitudes_set_the_brightness_and_the_colour(survey: pa.Table) -> None:
    few, inner = survey.slice(0, 20), ring(48, 0.0, 0.15)
    plain, brighter_g = draw(SOURCE, few), draw(SOURCE, altered(few, "modelMag_g", 15.0))
    assert np.median(brighter_g[:, inner, 2]) > np.median(plain[:, inner, 2]) + 40
    assert np.median(brighter_g[:, inner, 0]) <= np.median(plain[:, inner, 0])


def test_the_seeing_widens_a_point_to_its_width_and_keeps_its_light() -> None:
    frame = Frame(size_pix=64, scale_arcsec=0.1)
    light = np.zeros((3, 64, 64))
    light[:, 32, 32] = 1e6
    blur_and_add_noise(np.random.default_rng(0), light, frame)
    row = light[1, 32]
    above = np.flatnonzero(row > row.max() / 2)
    assert (above[-1] - above[0] + 1) * 0.1 == pytest.approx(SEEING_FWHM_ARCSEC, abs=0.15)
    assert light[1].sum() == pytest.approx(1e6, rel=1e-3)


def test_the_noise_of_the_sky_is_normal_and_smooth_where_native_pixels_are_magnified() -> None:
    light = np.zeros((3, 128, 128))
    blur_and_add_noise(np.random.default_rng(0), light, Frame(size_pix=128, scale_arcsec=0.2))
    noise = light[1] / light[1].std()
    assert abs(noise.mean()) < 0.05
    assert np.mean(noise**4) == pytest.approx(3.0, abs=0.3)
    assert np.mean(noise[:, 1:] * noise[:, :-1]) > 0.5
    assert abs(np.mean(noise[:, 8:] * noise[:, :-8])) < 0.1


def test_the_stretch_grows_with_brightness_keeps_colour_and_ends_at_white() -> None:
    brightness = np.geomspace(1e-3, 1e5, 200)
    grey = stretch(np.broadcast_to(brightness, (3, 1, 200)).copy())[0].astype(int)
    assert np.all(np.diff(grey, axis=0) >= 0)
    assert grey[0].max() <= 1
    assert grey[-1].tolist() == [255, 255, 255]
    red, yellow, blue = stretch(np.full((3, 1, 1), 0.3))[0, 0].astype(float)
    assert red / blue == pytest.approx(0.63, abs=0.02)
    assert yellow / blue == pytest.approx(0.73, abs=0.02)
    assert not stretch(np.full((3, 2, 2), -1.0)).any()


def test_blank_and_saturated_frames_occur_at_their_rates() -> None:
    images = draw(SimulatedSource(size_pix=24, seed=3), simulate_survey(num_galaxies=3000, seed=2))
    blank = np.mean(images.max(axis=(1, 2, 3)) == 0)
    assert blank == pytest.approx(BLANK_FRACTION, abs=0.003)
    # Now and then an ordinary star, too, fills more than one per cent of a frame.
    saturated = np.mean((images == 255).mean(axis=(1, 2)).max(axis=1) > 0.01)
    assert SATURATED_FRACTION / 2 < saturated < 4 * SATURATED_FRACTION


def test_missing_columns_are_refused_by_name_before_any_image_is_drawn(survey: pa.Table) -> None:
    with pytest.raises(InputError, match="petroR90_r, oh_true, which the target list lacks"):
        SOURCE.read(survey.drop_columns(["oh_true", "petroR90_r"]))


def test_a_null_in_a_needed_column_is_refused_by_name(survey: pa.Table) -> None:
    nulls = pa.nulls(survey.num_rows, pa.float32())
    broken = survey.set_column(survey.column_names.index("modelMag_g"), "modelMag_g", nulls)
    with pytest.raises(InputError, match="every row of modelMag_g"):
        SOURCE.read(broken)


def test_only_the_named_columns_are_needed(survey: pa.Table, images: np.ndarray) -> None:
    assert np.array_equal(draw(SOURCE, survey.select(list(REQUIRED_COLUMNS)).slice(0, 3)), images[:3])


@pytest.mark.parametrize(("size_pix", "seed", "word"), [(3, 0, "size_pix"), (32, -1, "seed")])
def test_settings_out_of_range_are_refused_by_name(size_pix: int, seed: int, word: str) -> None:
    with pytest.raises(InputError, match=word):
        SimulatedSource(size_pix=size_pix, seed=seed)
