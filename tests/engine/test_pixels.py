from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.engine.pixels import IMAGENET, ImageSpec, Normalisation

SDSS = ImageSpec(survey="sdss", bands=("i", "r", "g"), size_pix=128, stretch="sdss-jpeg", size_rule="petro5")


def test_normalised_pixels_are_what_the_definition_says() -> None:
    shift, scale = IMAGENET.shift_and_scale()
    pixel = np.array([10.0, 128.0, 255.0])
    expected = (pixel / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    assert np.allclose(pixel * np.array(scale) + np.array(shift), expected, rtol=0, atol=1e-12)


def test_pixels_at_the_mean_become_zero() -> None:
    shift, scale = Normalisation(mean=(0.2,), std=(0.5,)).shift_and_scale()
    assert 0.2 * 255 * scale[0] + shift[0] == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": ("z", "r", "g")}, "the ensemble has bands = irg, but the store has bands = zrg"),
        ({"size_pix": 64}, "has size_pix = 128, but the store has size_pix = 64"),
        ({"survey": "legacy"}, "survey = 'sdss', but the store has survey = 'legacy'"),
        ({"stretch": "asinh"}, "stretch"),
        ({"size_rule": "fixed"}, "size_rule"),
    ],
)
def test_other_images_are_refused_by_the_first_difference(change: dict[str, object], message: str) -> None:
    SDSS.refuse_unless_same(SDSS, ours="the ensemble", theirs="the store")
    with pytest.raises(InputError, match=message):
        SDSS.refuse_unless_same(dataclasses.replace(SDSS, **change), ours="the ensemble", theirs="the store")  # type: ignore[arg-type]
