from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.engine.pixels import IMAGENET, IMAGENET_MEAN, IMAGENET_STD, ImageSpec, Normalisation

SDSS = ImageSpec(survey="sdss", bands=("i", "r", "g"), size_pix=128, stretch="sdss-jpeg", size_rule="petro5")


def test_normalised_pixels_are_what_the_definition_says() -> None:
    level = np.arange(256)
    assert IMAGENET.table_CCL.shape == (3, 3, 256)
    for channel in range(3):
        expected = (level / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        assert np.allclose(IMAGENET.table_CCL[channel, channel], expected, rtol=0, atol=1e-6)
        assert not np.delete(IMAGENET.table_CCL[channel], channel, axis=0).any()


def test_a_softened_logarithm_is_mixed_among_the_channels() -> None:
    matrix = ((2.0, -1.0), (0.5, 3.0))
    normalisation = Normalisation(mean=(0.3, 0.7), matrix=matrix, softening=8.0)
    levels = np.array([0, 255])
    pixel = sum(normalisation.table_CCL[:, band, level] for band, level in enumerate(levels))
    assert np.allclose(pixel, np.array(matrix) @ (np.log1p(levels / 8) - np.array([0.3, 0.7])), atol=1e-6)
    assert Normalisation.from_dict(json.loads(json.dumps(dataclasses.asdict(normalisation)))) == normalisation


@pytest.mark.parametrize(
    "broken",
    [
        {"mean": (0.5,)},
        {"matrix": ((1.0, 0.0),)},
        {"matrix": ((1.0, 0.0), (0.0,))},
        {"matrix": ((1.0, 0.0), (0.0, 0.0))},
        {"matrix": ((1.0, 0.0), (0.0, float("nan")))},
        {"softening": -1.0},
    ],
)
def test_a_normalisation_that_makes_no_sense_cannot_exist(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a normalisation"):
        dataclasses.replace(Normalisation.scaling((0.5, 0.5), (0.1, 0.2)), **broken)


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
