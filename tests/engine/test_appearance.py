from __future__ import annotations

import numpy as np
import pytest

from skymetal.engine.appearance import appearance_names, measure_appearance


def blob(width: float, colours: tuple[float, ...], sky: float = 20.0, size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    light = 120 * np.exp(-np.hypot(x, y) / width)
    return (sky + light[:, :, None] * np.array(colours)).clip(0, 255).astype(np.uint8)


def test_colours_and_concentration_say_what_the_light_is_like() -> None:
    images = np.stack([blob(4, (1.0, 0.5, 0.25)), blob(4, (1.0, 1.0, 1.0)), blob(12, (1.0, 1.0, 1.0))])
    measured = measure_appearance(images)
    assert appearance_names(("i", "r", "g")) == ("colour_i_r", "colour_r_g", "concentration", "chroma", "roughness")
    assert measured.shape == (3, 5)
    assert measured[0, :2] == pytest.approx([1 / 3, 1 / 3], abs=0.05)
    assert measured[1, :2] == pytest.approx([0, 0], abs=0.01)
    assert measured[1, 2] > measured[2, 2] + 0.1


def test_the_sky_and_flips_change_nothing_and_swapped_bands_change_the_sign() -> None:
    image = blob(5, (1.0, 0.6, 0.3))
    plain = measure_appearance(image[None])[0]
    assert measure_appearance(blob(5, (1.0, 0.6, 0.3), sky=60)[None])[0, :3] == pytest.approx(plain[:3], abs=0.02)
    assert measure_appearance(image[None, ::-1, ::-1])[0] == pytest.approx(plain, abs=1e-4)
    swapped = measure_appearance(image[None, :, :, ::-1])[0]
    assert swapped[:2] == pytest.approx(-plain[1::-1], abs=1e-4)


def test_a_grey_image_has_no_chroma_and_shuffled_pixels_are_rough() -> None:
    image = blob(6, (1.0, 0.6, 0.3))
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    shuffled = np.random.default_rng(0).permutation(image.reshape(-1, 3)).reshape(image.shape)
    names = appearance_names(("i", "r", "g"))
    chroma, roughness = measure_appearance(np.stack([image, grey, shuffled]))[:, [names.index("chroma"), -1]].T
    assert chroma[0] > 0.1
    assert chroma[1] == 0
    assert chroma[2] == pytest.approx(chroma[0], rel=1e-4)
    assert roughness[2] > 5 * roughness[0]


def test_a_galaxys_numbers_do_not_depend_on_the_others_and_empty_ones_are_zeros() -> None:
    images = np.random.default_rng(0).integers(0, 256, (150, 16, 16, 3), dtype=np.uint8)
    images[70] = 0
    together = measure_appearance(images)
    assert (together[70] == 0).all()
    assert np.abs(together).max() <= 10
    for n in (0, 63, 64, 149):
        others = np.random.default_rng(1).integers(0, 256, images.shape, dtype=np.uint8)
        others[n] = images[n]
        assert measure_appearance(others)[n].tobytes() == together[n].tobytes()


def test_flux_and_one_band_are_measured_alike() -> None:
    flux = blob(5, (1.0, 0.6, 0.3)).astype(np.float32) / 100 - 0.2
    plain = measure_appearance(blob(5, (1.0, 0.6, 0.3))[None])[0]
    assert measure_appearance(flux[None])[0, :3] == pytest.approx(plain[:3], abs=1e-3)
    assert measure_appearance(flux[None, :, :, :1]).shape == (1, 3)
