from __future__ import annotations

import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb

from skymetal.catalogs.errors import InputError
from skymetal.engine.rendering import Rendering


def flux() -> np.ndarray:
    return np.random.default_rng(1).exponential(0.3, (20, 20, 3)).astype(np.float32)


def test_lupton_is_astropys_with_the_first_band_red() -> None:
    rendered = Rendering(kind="lupton", q=6, stretch=0.25, minimum=0.01, scales=(1.0, 2.0, 3.0)).render(flux())
    red, green, blue = np.moveaxis(flux().astype(float) * (1, 2, 3), -1, 0)
    assert rendered.dtype == np.uint8
    assert np.array_equal(rendered, make_lupton_rgb(red, green, blue, minimum=0.01, stretch=0.25, Q=6))
    only_red = np.zeros((4, 4, 3), np.float32)
    only_red[:, :, 0] = 1
    assert Rendering(kind="lupton").render(only_red)[0, 0].argmax() == 0


def test_flux_is_kept_as_it_is_and_no_data_is_dark() -> None:
    pixels = flux()
    pixels[0, 0] = np.nan
    kept = Rendering(kind="flux").render(pixels)
    assert kept.dtype == np.float32
    assert np.array_equal(kept[1:], pixels[1:])
    assert kept[0, 0].tolist() == [0, 0, 0]
    assert Rendering(kind="lupton").render(pixels)[0, 0].tolist() == [0, 0, 0]


def test_what_made_a_picture_can_be_read_from_its_name() -> None:
    assert str(Rendering(kind="lupton", q=8, stretch=0.02)) == "lupton Q=8 stretch=0.02 minimum=0 scales=1,1.5,2.5"
    assert str(Rendering(kind="flux")) == "flux"


@pytest.mark.parametrize("bad", [{"q": 0}, {"stretch": -1}, {"stretch": float("inf")}, {"minimum": float("nan")}])
def test_numbers_that_make_no_picture_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be above 0 and finite"):
        Rendering(kind="lupton", **bad)
