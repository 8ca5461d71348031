from __future__ import annotations

from dataclasses import replace

import pytest
from support.tiny_training import SPEC

from skymetal.catalogs.errors import InputError
from skymetal.train.network.inputs import NetworkInput


def test_what_the_images_do_not_have_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[train\] band = 'u' is none of the images' bands, i, r, g"):
        NetworkInput(band="u").check(SPEC)
    for resolution, size in ((32, 32), (64, 32), (16, 40)):
        with pytest.raises(InputError, match=rf"\[train\] resolution_pix = {resolution} must be smaller"):
            NetworkInput(resolution_pix=resolution).check(replace(SPEC, size_pix=size))
    NetworkInput(band="g", resolution_pix=16).check(SPEC)
